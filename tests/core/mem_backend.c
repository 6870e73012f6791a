// SPDX-License-Identifier: GPL-2.0-or-later
#include "mem_backend.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define COPY_MAX 4096

struct mem_backend {
	struct cmfs_backend base;
	struct mem_disk *disk;
	struct mem_store *store; /* the disk's */
	unsigned int opening;
	atomic_uint in_flight;
};

static struct mem_backend *to_mem(struct cmfs_backend *be)
{
	return (struct mem_backend *)be;
}

/* ---- what each request passes through ---- */

static void call_hook(struct mem_backend *m, const struct mem_event *event, enum mem_stage stage)
{
	const struct mem_config *config = mem_disk_config(m->disk);

	if (config->hook)
		config->hook(config->hook_arg, event, stage);
}

/* Returns the error that the request is to fail with, or 0. */
static int begin(struct mem_backend *m, struct mem_event *event)
{
	int error;

	atomic_fetch_add(&m->in_flight, 1);
	event->opening = m->opening;
	error = mem_disk_begin(m->disk, event);
	call_hook(m, event, MEM_BEFORE);
	return error;
}

static int end(struct mem_backend *m, const struct mem_event *event, int r)
{
	call_hook(m, event, MEM_AFTER);
	atomic_fetch_sub(&m->in_flight, 1);
	return r;
}

static bool is_durable(struct mem_backend *m, enum cmfs_durability durability)
{
	return m->base.ops->fua == CMFS_FUA_NATIVE &&
	       (m->base.how.dsync || durability != CMFS_VOLATILE);
}

static void assert_aligned(struct mem_backend *m, const void *buf, size_t len, uint64_t off)
{
	const struct cmfs_geometry *geo = &m->base.geo;

	assert(len > 0 && off % geo->align == 0 && len % geo->align == 0);
	assert((uintptr_t)buf % geo->mem_align == 0);
}

/* ---- operations ---- */

static int mem_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
		      struct cmfs_backend **ret, struct cmfs_err *err)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = { .op = MEM_REOPEN };
	int r = begin(m, &event);

	if (r < 0)
		cmfs_err_set(err, r, "mem: cannot reopen: %s", strerror(-r));
	else
		*ret = mem_backend_open(m->disk, how);
	return end(m, &event, r);
}

static void mem_close(struct cmfs_backend *be)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = { .op = MEM_CLOSE };

	begin(m, &event);
	end(m, &event, 0);
	assert(atomic_load(&m->in_flight) == 0);
	mem_disk_count_out(m->disk);
	free(m);
}

static int mem_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = { .op = MEM_READ, .off = off, .len = len, .buf = buf };
	int r = begin(m, &event);

	assert_aligned(m, buf, len, off);
	memset(buf, 0x5a, len); /* not to be taken for content */
	if (r == 0)
		*ret_len = mem_store_read(m->store, MEM_NOW, buf, len, off);
	return end(m, &event, r);
}

/* All of it, or the first half if it is to fail: "any part may have been done". */
static int store_write(struct mem_backend *m, const void *buf, size_t len, uint64_t off,
		       enum cmfs_durability durability, int fail)
{
	if (fail < 0) {
		len = len / 2 - len / 2 % m->base.geo.align;
		mem_store_write(m->store, buf, len, off, false);
		return fail;
	}
	fail = mem_store_write(m->store, buf, len, off, is_durable(m, durability));
	/* Through the cache, it is told what a flush would be; a direct one its own fate. */
	if (fail == 0 && is_durable(m, durability) && !m->base.how.direct)
		fail = mem_disk_take_loss(m->disk);
	return fail;
}

static int mem_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		     enum cmfs_durability durability)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = {
		.op = MEM_WRITE, .off = off, .len = len, .buf = buf, .durability = durability
	};
	int r = begin(m, &event);

	assert_aligned(m, buf, len, off);
	assert(!be->how.readonly);
	r = store_write(m, buf, len, off, durability, r);
	return end(m, &event, r);
}

/* Write back what stood around [off, off + len) when it was read. */
static int write_back(struct mem_backend *m, const struct mem_event *event)
{
	const uint32_t block = m->base.geo.exact_block;
	uint64_t start = event->off - event->off % block;
	uint64_t stop = event->off + event->len + block - 1;
	size_t skip = event->off - start, got, filled = skip + event->len;
	char *around;
	int r;

	stop -= stop % block;
	around = calloc(1, stop - start);
	if (!around)
		return -ENOMEM;
	got = mem_store_read(m->store, MEM_NOW, around, stop - start, start);
	call_hook(m, event, MEM_INSIDE);
	memcpy(around + skip, event->buf, event->len);
	r = mem_store_write(m->store, around, got > filled ? got : filled, start, false);
	free(around);
	return r;
}

static int mem_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			   enum cmfs_durability durability)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = {
		.op = MEM_WRITE_EXACT, .off = off, .len = len, .buf = buf, .durability = durability
	};
	int r = begin(m, &event);

	assert(!be->how.readonly);
	if (r == 0)
		r = write_back(m, &event);
	r = store_write(m, buf, len, off, durability, r);
	return end(m, &event, r);
}

static int mem_flush(struct cmfs_backend *be, bool datasync)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = { .op = MEM_FLUSH, .datasync = datasync };
	int r = begin(m, &event);

	/* At once: it need not cover what is written while it runs. */
	mem_store_flush(m->store, r < 0);
	if (r == 0)
		r = mem_disk_take_loss(m->disk);
	return end(m, &event, r);
}

static int mem_check(struct cmfs_backend *be)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = { .op = MEM_CHECK };
	int r = begin(m, &event);

	if (r == 0)
		r = mem_disk_take_loss(m->disk);
	return end(m, &event, r);
}

static int mem_size(struct cmfs_backend *be, uint64_t *ret)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = { .op = MEM_SIZE };
	int r = begin(m, &event);

	if (r == 0)
		*ret = mem_store_size(m->store, MEM_NOW);
	return end(m, &event, r);
}

static int mem_getattr(struct cmfs_backend *be, struct stat *ret)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = { .op = MEM_GETATTR };
	int r = begin(m, &event);

	if (r == 0)
		*ret = (struct stat){
			.st_mode = S_IFREG | 0600,
			.st_size = (off_t)mem_store_size(m->store, MEM_NOW),
		};
	return end(m, &event, r);
}

static int mem_truncate(struct cmfs_backend *be, uint64_t size)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = { .op = MEM_TRUNCATE, .len = size };
	int r = begin(m, &event);

	assert(!be->how.readonly);
	if (r == 0)
		r = mem_store_truncate(m->store, size);
	return end(m, &event, r);
}

/* As fallocate(2) has it, punching never moves the end. */
static int mem_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size, uint64_t off,
			uint64_t len)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = { .op = MEM_ALLOCATE, .off = off, .len = len };
	int r = begin(m, &event);

	assert(!be->how.readonly);
	if (r == 0 && what == CMFS_ALLOC_PUNCH && !keep_size)
		r = -EOPNOTSUPP;
	if (r == 0 && what == CMFS_ALLOC_ALLOCATE)
		r = keep_size ? 0 : mem_store_reserve(m->store, off + len);
	else if (r == 0)
		r = mem_store_zero(m->store, off, len, keep_size);
	return end(m, &event, r);
}

static int mem_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	struct mem_backend *m = to_mem(be);
	struct mem_event event = { .op = MEM_SEEK, .off = off };
	uint64_t size = mem_store_size(m->store, MEM_NOW);
	int r = begin(m, &event);

	if (r == 0 && off >= size)
		r = -ENXIO;
	else if (r == 0)
		*ret = whence == CMFS_SEEK_DATA ? off : size; /* no holes here */
	return end(m, &event, r);
}

static int mem_copy(struct cmfs_backend *src, uint64_t src_off, struct cmfs_backend *dst,
		    uint64_t dst_off, size_t len, size_t *ret_len)
{
	struct mem_backend *m = to_mem(dst);
	struct mem_event event = { .op = MEM_COPY, .off = dst_off, .len = len };
	char data[COPY_MAX];
	size_t got;
	int r = begin(m, &event);

	if (r == 0) {
		got = mem_store_read(to_mem(src)->store, MEM_NOW, data,
				     len < COPY_MAX ? len : COPY_MAX, src_off);
		*ret_len = got;
		if (got > 0)
			r = mem_store_write(m->store, data, got, dst_off, false);
	}
	return end(m, &event, r);
}

static void mem_drop_cache(struct cmfs_backend *be)
{
	struct mem_event event = { .op = MEM_DROP_CACHE };

	begin(to_mem(be), &event);
	end(to_mem(be), &event, 0);
}

/* ---- the four kinds ---- */

#define OPS(fua_grade, copy_op)                                                                    \
	{                                                                                          \
		.name = "mem", .fua = fua_grade, .reopen = mem_reopen, .close = mem_close,         \
		.read = mem_read, .write = mem_write, .write_exact = mem_write_exact,              \
		.flush = mem_flush, .check = mem_check, .size = mem_size, .getattr = mem_getattr,  \
		.truncate = mem_truncate, .allocate = mem_allocate, .seek = mem_seek,              \
		.copy = copy_op, .drop_cache = mem_drop_cache,                                     \
	}

static const struct cmfs_backend_ops mem_ops[2][2] = {
	[CMFS_FUA_EMULATE] = { OPS(CMFS_FUA_EMULATE, NULL), OPS(CMFS_FUA_EMULATE, mem_copy) },
	[CMFS_FUA_NATIVE] = { OPS(CMFS_FUA_NATIVE, NULL), OPS(CMFS_FUA_NATIVE, mem_copy) },
};

struct cmfs_backend *mem_backend_open(struct mem_disk *disk, const struct cmfs_open_how *how)
{
	const struct mem_config *config = mem_disk_config(disk);
	struct mem_backend *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->base = (struct cmfs_backend){
		.ops = &mem_ops[config->fua][config->copy],
		.how = *how,
		.geo = how->direct ? config->direct : (struct cmfs_geometry){ 1, 1, 1 },
	};
	m->base.geo.fixed_size = config->fixed_size;
	m->base.reopen_last = config->reopen_last;
	m->disk = disk;
	m->store = mem_disk_store(disk);
	m->opening = mem_disk_count_in(disk);
	return &m->base;
}
