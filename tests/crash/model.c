/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crash/model.h"

#include <stdio.h>
#include <string.h>

void model_init(struct model *model)
{
	memset(model, 0, sizeof(*model));
}

size_t model_key_name(uint32_t space, uint32_t key, char name[MODEL_KEY_BYTES])
{
	return (size_t)snprintf(name, MODEL_KEY_BYTES, "s%u/key-%04u", space, key);
}

static void empty(struct model_space *space)
{
	memset(space->key, 0, sizeof(space->key));
}

/* What an answered event means. */
static void answer(struct model *model, const struct event *e)
{
	struct model_space *space = &model->space[e->space];
	if (e->status != THERMO_OK && e->status != THERMO_MISS && e->status != THERMO_PENDING)
		return; /* nothing was changed */
	switch (e->kind) {
	case EVENT_OPEN:
		model->phase = PHASE_OPEN;
		model->untouched = true;
		break;
	case EVENT_CLOSE:
		model->phase = PHASE_CLOSED;
		break;
	case EVENT_SPACE:
		space->exists = true;
		space->durable = e->durable;
		break;
	case EVENT_DROP:
		space->exists = false;
		empty(space);
		break;
	case EVENT_PUT:
		space->key[e->key] = (struct model_key){true, e->len, e->seed};
		break;
	case EVENT_DELETE:
	case EVENT_ERASE:
		space->key[e->key].present = false;
		break;
	default:
		return;
	}
	if (e->kind != EVENT_OPEN && e->kind != EVENT_CLOSE && e->kind != EVENT_SPACE)
		model->untouched = false;
	model->epoch++;
}

/* Events from the next one on are under way: the requests of a batch were begun together. */
static void begin(struct model *model, const struct trace *trace, size_t next)
{
	const struct event *e = &trace->events[next];
	model->under_way = e;
	model->n_under_way = 1;
	while (next + model->n_under_way < trace->n && e->end > e->begin &&
	       trace->events[next + model->n_under_way].begin == e->begin)
		model->n_under_way++;
	if (e->kind == EVENT_OPEN)
		model->phase = PHASE_OPENING;
	if (e->kind == EVENT_CLOSE)
		model->phase = PHASE_CLOSING;
	if (e->kind != EVENT_OTHER)
		model->epoch++;
}

void model_follow(struct model *model, const struct trace *trace, size_t *next, size_t n)
{
	for (; *next < trace->n && trace->events[*next].end <= n; ++*next) {
		model->n_under_way = 0;
		answer(model, &trace->events[*next]);
	}
	bool begun = *next < trace->n && trace->events[*next].begin < n;
	if (begun && (!model->n_under_way || model->under_way != &trace->events[*next]))
		begin(model, trace, *next);
}
