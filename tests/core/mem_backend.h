/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_MEM_BACKEND_H
#define CMFS_TEST_MEM_BACKEND_H

#include "cmfs/backend.h"
#include "mem_store.h"

/*
 * A second backend, in memory, which proves that backend.h can be kept by
 * something other than a file, and which shows what the layers above ask of it.
 *
 * A *disk* is the place: its bytes (mem_store.h), a log of what reached it,
 * errors to come, and a hook. Each struct cmfs_backend is one opening of a disk.
 * The backend asserts the contract's other side: no request after or during
 * close, alignment as the opening's geometry has it.
 *
 * write_exact() rewrites its neighbourhood, as a page cache does: it reads all of
 * the blocks of exact_block bytes, and writes them back later with the new bytes
 * in. Whoever lets another write in between loses it.
 */
struct mem_disk;

enum mem_op {
	MEM_REOPEN,
	MEM_CLOSE,
	MEM_READ,
	MEM_WRITE,
	MEM_WRITE_EXACT,
	MEM_FLUSH,
	MEM_SIZE,
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
	bool copy;	   /* has ops->copy (of at most 4096 bytes at a time) */
	uint64_t size;	   /* of the content at first: zeroes, durable */
	uint64_t max_size; /* beyond it: -EFBIG; 0: 1 MiB */
	mem_hook *hook;	   /* may be NULL */
	void *hook_arg;
};

struct mem_disk *mem_disk_create(const struct mem_config *config);
void mem_disk_destroy(struct mem_disk *disk); /* asserts: all openings are closed */

struct cmfs_backend *mem_disk_open(struct mem_disk *disk, const struct cmfs_open_how *how);

/* For looks past the layers that are tested. */
struct mem_store *mem_disk_store(struct mem_disk *disk);

unsigned int mem_disk_openings(struct mem_disk *disk);

/* Let @skip calls of @op pass, then fail the next @count with @error (-errno). */
void mem_disk_fail(struct mem_disk *disk, enum mem_op op, unsigned int skip, unsigned int count,
		   int error);

/* How many calls of @op began since the log was cleared. */
unsigned int mem_disk_count(struct mem_disk *disk, enum mem_op op);

/* The first @max events since then, in the order of their beginning. */
size_t mem_disk_log(struct mem_disk *disk, struct mem_event *ret, size_t max);
void mem_disk_clear_log(struct mem_disk *disk);

#endif
