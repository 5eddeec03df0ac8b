/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/trace_source.h"

#include "tools/mix.h"

static const char *const spaces[] = {"trace"};

double trace_done(const struct trace *trace)
{
	uint64_t size = trace_size(trace);
	return size ? (double)trace_position(trace) / (double)size : -1;
}

static double source_done(struct replay_source *source)
{
	return trace_done(((struct trace_source *)source)->trace);
}

static enum replay_verb verb_of(enum trace_op op)
{
	if (op == TRACE_DELETE)
		return REPLAY_DELETE;
	return op == TRACE_SET ? REPLAY_SET : REPLAY_GET;
}

static int read_next(struct trace_source *source, struct replay_op *op, struct thermo_error *error)
{
	struct trace_request request;
	if (source->repeats) {
		source->repeats--;
		*op = source->repeated;
		return 1;
	}
	int status = trace_next(source->trace, &request, error);
	if (status)
		return status == THERMO_MISS ? 0 : status;
	uint64_t size = request.size;
	uint16_t key_len = sizeof(request.key);
	if (request.key_size > key_len)
		key_len = request.key_size < THERMO_KEY_MAX ? (uint16_t)request.key_size
							    : THERMO_KEY_MAX;
	if (size_model_uses_trace(source->sizes) && request.op != TRACE_DELETE)
		source->unrecorded += !size;
	/* A trace's size is of key and value; a value has at least the byte that says it is there.
	 */
	if (size && request.key_size)
		size = size > request.key_size ? size - request.key_size : 1;
	*op = (struct replay_op){
		.id = request.key,
		.key_len = key_len,
		.verb = (uint8_t)verb_of(request.op),
		.value_len = size_model_draw(source->sizes, mix64(request.key), size),
	};
	if (request.count > 1) {
		source->repeated = *op;
		source->repeats = request.count - 1;
	}
	return 1;
}

static int source_next(struct replay_source *base, struct replay_op *op, struct thermo_error *error)
{
	struct trace_source *source = (struct trace_source *)base;
	int status = read_next(source, op, error);
	if (status == 1 && source->batch > 1)
		op->group = 1 + (uint32_t)(source->given++ / source->batch);
	return status;
}

int trace_source_open(struct trace_source *source, const char *path, enum trace_format format,
		      const struct size_model *sizes, uint32_t batch, struct thermo_error *error)
{
	*source = (struct trace_source){
		.source = {.next = source_next,
			   .done = source_done,
			   .spaces = spaces,
			   .n_spaces = 1},
		.sizes = sizes,
		.batch = batch,
	};
	return trace_open(path, format, &source->trace, error);
}

void trace_source_close(struct trace_source *source)
{
	if (source->trace)
		trace_close(&source->trace);
}
