/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_MEM_DISK_H
#define CMFS_TEST_MEM_DISK_H

#include "cmfs/backend.h"
#include "mem_store.h"

/*
 * The place behind the memory backend: its bytes (mem_store.h), a log of what
 * reached it, errors to come, and a hook. Any thread.
 */
struct mem_disk;

enum mem_op {
	MEM_REOPEN,
	MEM_CLOSE,
	MEM_READ,
	MEM_WRITE,
	MEM_WRITE_EXACT,
	MEM_FLUSH,
	MEM_CHECK,
	MEM_SIZE,
	MEM_GETATTR,
	MEM_TRUNCATE,
	MEM_ALLOCATE,
	MEM_SEEK,
	MEM_COPY, /* logged by the destination */
	MEM_DROP_CACHE,
	MEM_OPS,
};

struct mem_event {
	enum mem_op op;
	unsigned int opening; /* which one: 0 for the first, then counted up */
	uint64_t off, len;
	const void *buf;
	enum cmfs_durability durability; /* writes */
	bool datasync;			 /* flush */
};

enum mem_stage {
	MEM_BEFORE, /* nothing done yet */
	MEM_INSIDE, /* write_exact(): the neighbourhood is read, not yet written */
	MEM_AFTER,  /* done, not yet returned */
};

/* Runs in the thread of the request, with no lock held. */
typedef void mem_hook(void *arg, const struct mem_event *event, enum mem_stage stage);

struct mem_config {
	struct cmfs_geometry direct; /* of direct openings; all others: 1, 1, 1 */
	enum cmfs_fua fua;
	bool copy; /* has ops->copy (of at most 4096 bytes at a time) */
	bool fixed_size;
	bool reopen_last;
	uint64_t size;	   /* of the content at first: zeroes, durable */
	uint64_t max_size; /* beyond it: -EFBIG; 0: 1 MiB */
	mem_hook *hook;	   /* may be NULL */
	void *hook_arg;
};

struct mem_disk *mem_disk_create(const struct mem_config *config);
void mem_disk_destroy(struct mem_disk *disk); /* asserts: all openings are closed */

/* For looks past the layers that are tested. */
struct mem_store *mem_disk_store(struct mem_disk *disk);

unsigned int mem_disk_openings(struct mem_disk *disk);

/* Let @skip calls of @op pass, then fail the next @count with @error (-errno). */
void mem_disk_fail(struct mem_disk *disk, enum mem_op op, unsigned int skip, unsigned int count,
		   int error);

/*
 * Lose what is not durable, as a failed write in the background does. Who asks first
 * is told @error, once: a flush, a check, a durable write through the cache.
 */
void mem_disk_lose(struct mem_disk *disk, int error);

/* How many calls of @op began since the log was cleared. */
unsigned int mem_disk_count(struct mem_disk *disk, enum mem_op op);

/* The first @max events since then, in the order of their beginning. */
size_t mem_disk_log(struct mem_disk *disk, struct mem_event *ret, size_t max);
void mem_disk_clear_log(struct mem_disk *disk);

/*
 * For mem_backend.c.
 */

const struct mem_config *mem_disk_config(const struct mem_disk *disk);

/* Count an opening in, which gets its number, or out. */
unsigned int mem_disk_count_in(struct mem_disk *disk);
void mem_disk_count_out(struct mem_disk *disk);

/* Log a request. Returns the error that it is to fail with, or 0. */
int mem_disk_begin(struct mem_disk *disk, const struct mem_event *event);

/* The error of a loss, for the first who asks; else 0. */
int mem_disk_take_loss(struct mem_disk *disk);

#endif
