/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_POWERCUT_MODEL_H
#define CMFS_TEST_POWERCUT_MODEL_H

#include "cmfs/backend.h"

/*
 * What a power cut may leave, independent of how the layer goes about it: the durable
 * content as it was at the last flush, and all that was done since, in order. Nothing
 * is ever removed from that list: what a cut may leave is found by going through it.
 */
#define MODEL_MAX 8192 /* no content ends beyond it */

enum model_kind {
	MODEL_WRITE,
	MODEL_ZERO,
	MODEL_ALLOCATE,
	MODEL_TRUNCATE,
};

struct model_op {
	enum model_kind kind;
	bool durable;		 /* a write */
	bool counts;		 /* as one of the volatile changes */
	uint64_t off, end;	 /* TRUNCATE: from the new size to MODEL_MAX */
	uint64_t grow_to;	 /* 0: did not move the end of the content */
	uint8_t data[MODEL_MAX]; /* what bytes off ... end - 1 become, at their place */
};

struct model_content {
	uint64_t size;
	uint8_t bytes[MODEL_MAX]; /* zeroes beyond the size */
};

#define MODEL_OPS 512

struct model {
	struct model_content flushed; /* durable since the last flush */
	struct model_content now;
	struct model_op *ops; /* since then: MODEL_OPS of them */
	unsigned int count;
};

void model_init(struct model *m, uint64_t size);
void model_finish(struct model *m);

/* What was done; a flush is due before the list is full (model_is_full()). */
void model_write(struct model *m, const void *buf, uint64_t len, uint64_t off, bool durable);
void model_zero(struct model *m, uint64_t off, uint64_t len, bool keep_size);
void model_allocate(struct model *m, uint64_t off, uint64_t len, bool keep_size);
void model_truncate(struct model *m, uint64_t size);
void model_flush(struct model *m);
bool model_is_full(const struct model *m);

/* How many changes are not durable. */
unsigned int model_volatile(const struct model *m);

/* The content if only the first @n volatile changes survive. */
void model_prefix(const struct model *m, unsigned int n, struct model_content *ret);

/* Fails the test if a cut with random decisions cannot leave @got. @is_torn: the last write is. */
void model_check_random(const struct model *m, bool is_torn, const struct model_content *got);

/* The cut has left @got. */
void model_restart(struct model *m, const struct model_content *got);

#endif
