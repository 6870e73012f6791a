// SPDX-License-Identifier: GPL-2.0-or-later
#include "powercut_model.h"

#include "harness.h"

#include <stdlib.h>
#include <string.h>

#define SECTOR 512

void model_init(struct model *m, uint64_t size)
{
	memset(m, 0, sizeof(*m));
	m->flushed.size = m->now.size = size;
	m->ops = calloc(MODEL_OPS, sizeof(*m->ops));
	assert_non_null(m->ops);
}

void model_finish(struct model *m)
{
	free(m->ops);
}

bool model_is_full(const struct model *m)
{
	return m->count == MODEL_OPS;
}

/* Do all of @op to @c. */
static void play(struct model_content *c, const struct model_op *op)
{
	memcpy(c->bytes + op->off, op->data + op->off, op->end - op->off);
	if (op->kind == MODEL_TRUNCATE)
		c->size = op->off;
	else if (op->durable && op->end > c->size)
		c->size = op->end;
	else if (op->grow_to > c->size)
		c->size = op->grow_to;
}

static struct model_op *new_op(struct model *m, enum model_kind kind, uint64_t off, uint64_t end)
{
	struct model_op *op = &m->ops[m->count++];

	assert_true(m->count <= MODEL_OPS && off <= end && end <= MODEL_MAX);
	*op = (struct model_op){ .kind = kind, .off = off, .end = end, .counts = true };
	return op;
}

static void grow(struct model *m, struct model_op *op)
{
	if (op->end > m->now.size)
		op->grow_to = op->end;
}

/* A durable write takes from the volatile ones those that it covers. */
static void uncount(struct model *m, const struct model_op *durable)
{
	for (struct model_op *op = m->ops; op < durable; op++) {
		if (op->kind != MODEL_TRUNCATE && op->off >= durable->off &&
		    op->end <= durable->end && op->grow_to <= durable->end)
			op->counts = false;
	}
}

void model_write(struct model *m, const void *buf, uint64_t len, uint64_t off, bool durable)
{
	struct model_op *op = new_op(m, MODEL_WRITE, off, off + len);

	memcpy(op->data + off, buf, len);
	grow(m, op);
	if (durable) {
		op->durable = true;
		op->counts = false;
		uncount(m, op);
	}
	play(&m->now, op);
}

void model_zero(struct model *m, uint64_t off, uint64_t len, bool keep_size)
{
	uint64_t end = off + len;
	struct model_op *op;

	if (keep_size && end > m->now.size)
		end = m->now.size;
	if (off >= end)
		return;
	op = new_op(m, MODEL_ZERO, off, end);
	grow(m, op);
	play(&m->now, op);
}

void model_allocate(struct model *m, uint64_t off, uint64_t len, bool keep_size)
{
	struct model_op *op = new_op(m, MODEL_ALLOCATE, off, off + len);

	/* Its bytes do not change; play() would copy them. */
	if (!keep_size)
		grow(m, op);
	if (op->grow_to)
		m->now.size = op->grow_to;
}

void model_truncate(struct model *m, uint64_t size)
{
	play(&m->now, new_op(m, MODEL_TRUNCATE, size, MODEL_MAX));
}

void model_flush(struct model *m)
{
	m->flushed = m->now;
	m->count = 0;
}

unsigned int model_volatile(const struct model *m)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < m->count; i++)
		n += m->ops[i].counts;
	return n;
}

void model_prefix(const struct model *m, unsigned int n, struct model_content *ret)
{
	unsigned int place = 0;

	*ret = m->flushed;
	for (unsigned int i = 0; i < m->count; i++) {
		const struct model_op *op = &m->ops[i];

		if (op->durable)
			play(ret, op);
		else if (op->counts && place++ < n && op->kind == MODEL_ALLOCATE)
			ret->size = op->grow_to > ret->size ? op->grow_to : ret->size;
		else if (op->counts && place <= n)
			play(ret, op);
	}
	memset(ret->bytes + ret->size, 0, MODEL_MAX - ret->size);
}

/* ---- what random decisions may leave ---- */

/* @torn: the write that ends with any of its sectors, or NULL. */
static bool may_be_size(const struct model *m, const struct model_op *torn, uint64_t size)
{
	bool may[MODEL_MAX + 1] = { false };

	may[m->flushed.size] = true;
	for (const struct model_op *op = m->ops; op < m->ops + m->count; op++) {
		bool below = false; /* may it be less than the operation's size? */
		uint64_t to = op->durable ? op->end : op->grow_to;

		if (op->kind == MODEL_TRUNCATE) {
			may[op->off] = true;
			continue;
		}
		for (uint64_t s = 0; s < to; s++) {
			below |= may[s];
			if (op->durable)
				may[s] = false;
		}
		may[to] |= below && to > 0;
		/* What is longer than it already stays so. */
		for (uint64_t s = op->off + 1; op == torn && below && s < to; s++)
			may[s] |= s % SECTOR == 0;
	}
	return may[size];
}

/* The values that byte @i may have: a bit for each. */
static void values_of(const struct model *m, uint64_t i, bool may[256])
{
	memset(may, 0, 256);
	may[m->flushed.bytes[i]] = true;
	for (const struct model_op *op = m->ops; op < m->ops + m->count; op++) {
		if (op->kind == MODEL_ALLOCATE || i < op->off || i >= op->end)
			continue;
		if (op->durable)
			memset(may, 0, 256);
		may[op->data[i]] = true;
	}
}

/* What is changed as whole sectors survives as whole sectors. */
static bool may_be_sector(const struct model *m, const struct model_content *got, uint64_t start,
			  uint64_t end)
{
	bool found = memcmp(got->bytes + start, m->flushed.bytes + start, end - start) == 0;

	for (const struct model_op *op = m->ops; op < m->ops + m->count; op++) {
		bool same = memcmp(got->bytes + start, op->data + start, end - start) == 0;

		if (op->kind == MODEL_ALLOCATE || op->off >= end || op->end <= start)
			continue;
		if (op->off > start || op->end < start + SECTOR)
			return true; /* a part of it: the bytes must do */
		found = same || (found && !op->durable);
	}
	return found;
}

static const struct model_op *last_write(const struct model *m)
{
	const struct model_op *found = NULL;

	for (const struct model_op *op = m->ops; op < m->ops + m->count; op++) {
		if (op->kind == MODEL_WRITE && op->counts)
			found = op;
	}
	return found;
}

void model_check_random(const struct model *m, bool is_torn, const struct model_content *got)
{
	const struct model_op *torn = is_torn ? last_write(m) : NULL;
	bool may[256];

	if (!may_be_size(m, torn, got->size))
		fail_msg("a size of %llu was never there", (unsigned long long)got->size);
	for (uint64_t i = 0; i < got->size; i++) {
		values_of(m, i, may);
		if (!may[got->bytes[i]])
			fail_msg("byte %llu was never 0x%02x", (unsigned long long)i,
				 got->bytes[i]);
	}
	for (uint64_t start = 0; start < got->size; start += SECTOR) {
		uint64_t end = start + SECTOR < got->size ? start + SECTOR : got->size;

		if (!may_be_sector(m, got, start, end))
			fail_msg("the sector at %llu is none of its versions",
				 (unsigned long long)start);
	}
}

void model_restart(struct model *m, const struct model_content *got)
{
	m->flushed = m->now = *got;
	m->count = 0;
}
