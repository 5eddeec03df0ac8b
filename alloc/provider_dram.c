/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anonymous memory: dram, node:N and emulate. All three reserve a range at open and commit extents of
 * it through pages.h; a node binds them before they are populated and asks the kernel afterwards; an
 * emulated one carries a struct delay. Where policies are refused, a node's memory is left unbound and
 * the note says so.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc/check.h"
#include "alloc/delay.h"
#include "alloc/error.h"
#include "alloc/nodes.h"
#include "alloc/provider_fillings.h"

struct dram {
	struct provider provider;
	struct delay delay; /* emulate only; provider.state points to it */
	/* const after open */
	unsigned node;
	int bound; /* 1: extents are bound to node */
};

/* The provider is a struct dram's first field. */
static struct dram *dram_of(struct provider *p)
{
	return (struct dram *)p;
}

static char *range(const struct provider *p, uint64_t first, uint64_t n)
{
	check(first <= p->extents_max && n <= p->extents_max - first);
	return p->base + first * EXTENT_BYTES;
}

static int dram_commit(struct provider *p, uint64_t first, uint64_t n)
{
	char *start = range(p, first, n);

	return n ? pages_commit(start, n * EXTENT_BYTES, (int)p->huge, 0) : 0;
}

static int node_commit(struct provider *p, uint64_t first, uint64_t n)
{
	struct dram *dram = dram_of(p);
	char *start = range(p, first, n);
	size_t bytes = n * EXTENT_BYTES;
	int elsewhere;

	if (n == 0)
		return 0;
	if (!dram->bound)
		return pages_commit(start, bytes, (int)p->huge, 0);
	/* A node that runs out of bound memory gets the process killed: ask first. */
	if (nodes_available("", dram->node) < bytes)
		return -ENOMEM;
	int rc = pages_commit_node(start, bytes, (int)p->huge, dram->node);
	if (rc)
		return rc == -EINVAL ? -ENODEV : rc; /* it has left our cpuset since open */
	if (nodes_verify(start, bytes, dram->node, &elsewhere) == -EXDEV) {
		pages_decommit(start, bytes);
		return -ENODEV;
	}
	return 0;
}

static int dram_decommit(struct provider *p, uint64_t first, uint64_t n)
{
	char *start = range(p, first, n);

	if (n)
		pages_decommit(start, n * EXTENT_BYTES);
	return 0;
}

static int dram_persist(struct provider *p, const void *start, size_t bytes)
{
	(void)p;
	(void)start;
	(void)bytes;
	return 0;
}

static void dram_close(struct provider *p)
{
	pages_release(p->base, p->extents_max * EXTENT_BYTES);
	free(p);
}

static const struct provider_ops dram_ops = {
	.name = "dram",
	.commit = dram_commit,
	.decommit = dram_decommit,
	.persist = dram_persist,
	.close = dram_close,
};

static const struct provider_ops node_ops = {
	.name = "node",
	.commit = node_commit,
	.decommit = dram_decommit,
	.persist = dram_persist,
	.close = dram_close,
};

static const struct provider_ops emulate_ops = {
	.name = "emulate",
	.commit = dram_commit,
	.decommit = dram_decommit,
	.persist = dram_persist,
	.close = dram_close,
};

static int open_range(const struct provider_ops *ops, uint64_t extents, int huge,
		      struct dram **result, struct thermo_error *error)
{
	struct dram *dram = calloc(1, sizeof(*dram));

	if (!dram)
		return error_set(error, -ENOMEM, "provider %s: out of memory", ops->name);
	dram->provider.base = pages_reserve(extents * EXTENT_BYTES);
	if (!dram->provider.base) {
		free(dram);
		return error_set(
			error, -ENOMEM,
			"provider %s: %llu MiB of address space cannot be reserved; see ulimit -v",
			ops->name, (unsigned long long)(extents * (EXTENT_BYTES >> 20)));
	}
	dram->provider.ops = ops;
	dram->provider.extents_max = extents;
	dram->provider.huge = huge != 0;
	*result = dram;
	return 0;
}

int provider_dram_open(uint64_t extents, int huge, struct provider **provider,
		       struct thermo_error *error)
{
	struct dram *dram = NULL;
	int rc = open_range(&dram_ops, extents, huge, &dram, error);

	if (rc)
		return rc;
	provider_note_huge(&dram->provider, "");
	*provider = &dram->provider;
	return 0;
}

int provider_emulate_open(uint32_t delay_ns, double bytes_per_ns, uint64_t extents, int huge,
			  struct provider **provider, struct thermo_error *error)
{
	struct dram *dram = NULL;
	int rc = open_range(&emulate_ops, extents, huge, &dram, error);

	if (rc)
		return rc;
	struct provider *p = &dram->provider;
	p->emulated = 1;
	p->delay_ns = delay_ns;
	p->state = &dram->delay;
	delay_init(&dram->delay, delay_ns, bytes_per_ns);
	if (bytes_per_ns > 0)
		provider_note(p,
			      "emulated: DRAM + %u ns, %g GB/s; for real memory give node:N, "
			      "kmem or file:PATH",
			      delay_ns, bytes_per_ns);
	else
		provider_note(p,
			      "emulated: DRAM + %u ns; for real memory give node:N, kmem or "
			      "file:PATH",
			      delay_ns);
	provider_note_huge(p, "");
	*provider = p;
	return 0;
}

/* Is there such a node, with memory? Where sysfs does not say, mbind's answer decides later. */
static int check_node(unsigned node, struct thermo_error *error)
{
	struct node_set set;

	if (nodes_read("", "online", &set) == 0 && !nodes_has(&set, node))
		return error_set(error, -ENODEV, "node:%u: no such NUMA node here; see numactl -H",
				 node);
	if (nodes_read("", "has_memory", &set) == 0 && !nodes_has(&set, node))
		return error_set(error, -ENODEV,
				 "node:%u: this NUMA node has no memory (is it online? see daxctl, "
				 "numactl -H)",
				 node);
	if (nodes_available("", node) < EXTENT_BYTES)
		return error_set(error, -ENOMEM, "node:%u: this NUMA node has no free memory",
				 node);
	return 0;
}

/* Binds one page, touches it and asks where it is: may we bind, and does it work? The page is not one
 * of the range: its page table would keep the first extent from becoming a huge page. */
static int probe_node(struct dram *dram, struct thermo_error *error)
{
	struct provider *p = &dram->provider;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned node = dram->node;
	int elsewhere = -1;
	void *probe = pages_reserve(page);

	if (!probe)
		return error_set(error, -ENOMEM, "node:%u: no address space to try it with", node);
	int rc = pages_commit_node(probe, page, 0, node);
	int verified = rc ? 1 : nodes_verify(probe, page, node, &elsewhere);
	pages_release(probe, page);

	if (rc == -EPERM || rc == -EACCES || rc == -ENOSYS) {
		provider_note(p,
			      "node:%u is not bound, mbind is refused (%s): allow it (CAP_SYS_NICE "
			      "or the seccomp profile)",
			      node, rc == -ENOSYS ? "ENOSYS" : "EPERM");
		return 0;
	}
	if (rc == -EINVAL)
		return error_set(
			error, -ENODEV,
			"node:%u: this process may not use that NUMA node; see Mems_allowed in "
			"/proc/self/status (cpuset)",
			node);
	if (rc)
		return error_set(error, rc, "node:%u: not even one page can be had there", node);
	if (verified == -EXDEV)
		return error_set(error, -ENODEV,
				 "node:%u: bound, but the kernel gives pages of node %d", node,
				 elsewhere);
	if (verified != 0)
		provider_note(p, "node:%u is bound, but move_pages is refused: not verified", node);
	dram->bound = 1;
	return 0;
}

int provider_node_open(unsigned node, uint64_t extents, int huge, struct provider **provider,
		       struct thermo_error *error)
{
	struct dram *dram = NULL;
	int rc = check_node(node, error);

	if (rc)
		return rc;
	rc = open_range(&node_ops, extents, huge, &dram, error);
	if (rc)
		return rc;
	dram->node = node;
	rc = probe_node(dram, error);
	if (rc) {
		dram_close(&dram->provider);
		return rc;
	}
	provider_note_huge(&dram->provider, "");
	*provider = &dram->provider;
	return 0;
}
