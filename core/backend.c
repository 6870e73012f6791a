// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The checked way into a backend: asserts what the layers above owe before each
 * call and what the backend owes after it, and makes a write durable by a flush
 * where the backend cannot.
 */
#include "cmfs/backend.h"

#include <assert.h>
#include <errno.h>

static bool is_aligned(uint64_t value, uint32_t align)
{
	return (value & (align - 1)) == 0;
}

static bool in_range(uint64_t off, uint64_t len)
{
	return off <= INT64_MAX && len <= INT64_MAX - off;
}

static bool is_request(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off)
{
	return len > 0 && in_range(off, len) && is_aligned(off, be->geo.align) &&
	       is_aligned(len, be->geo.align) && is_aligned((uintptr_t)buf, be->geo.mem_align);
}

static int checked(int r)
{
	assert(r <= 0);
	return r;
}

int cmfs_backend_reopen(struct cmfs_backend *be, const struct cmfs_open_how *how,
			struct cmfs_backend **ret, struct cmfs_err *err)
{
	int r = checked(be->ops->reopen(be, how, ret, err));

	assert(r < 0 ||
	       ((*ret)->how.direct == how->direct && (*ret)->how.dsync == how->dsync &&
		(*ret)->how.readonly == how->readonly && (*ret)->how.no_flush == how->no_flush &&
		(*ret)->geo.fixed_size == be->geo.fixed_size));
	return r;
}

void cmfs_backend_close(struct cmfs_backend *be)
{
	if (be)
		be->ops->close(be);
}

int cmfs_backend_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	int r;

	assert(is_request(be, buf, len, off));
	r = checked(be->ops->read(be, buf, len, off, ret_len));
	assert(r < 0 || *ret_len <= len);
	return r;
}

int cmfs_backend_read_list(struct cmfs_backend *be, struct cmfs_read *reads, size_t count)
{
	int r = 0;

	assert(count <= CMFS_READ_LIST_MAX);
	for (size_t i = 0; i < count; i++)
		assert(is_request(be, reads[i].buf, reads[i].len, reads[i].off));
	if (be->ops->read_list)
		return checked(be->ops->read_list(be, reads, count));
	for (size_t i = 0; i < count && r == 0; i++)
		r = cmfs_backend_read(be, reads[i].buf, reads[i].len, reads[i].off, &reads[i].got);
	return r;
}

/* A write that the backend could not make durable by itself. */
static int finish_write(struct cmfs_backend *be, enum cmfs_durability durability)
{
	if (be->how.dsync && durability < CMFS_DURABLE_DATA)
		durability = CMFS_DURABLE_DATA;
	if (be->ops->fua != CMFS_FUA_EMULATE || durability == CMFS_VOLATILE)
		return 0;
	return cmfs_backend_flush(be, durability == CMFS_DURABLE_DATA);
}

int cmfs_backend_write(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
		       enum cmfs_durability durability)
{
	int r;

	assert(is_request(be, buf, len, off) && !be->how.readonly);
	r = checked(be->ops->write(be, buf, len, off, durability));
	return r < 0 ? r : finish_write(be, durability);
}

int cmfs_backend_write_exact(struct cmfs_backend *be, const void *buf, size_t len, uint64_t off,
			     enum cmfs_durability durability)
{
	int r;

	assert(len > 0 && in_range(off, len) && !be->how.readonly);
	r = checked(be->ops->write_exact(be, buf, len, off, durability));
	return r < 0 ? r : finish_write(be, durability);
}

int cmfs_backend_flush(struct cmfs_backend *be, bool datasync)
{
	return checked(be->ops->flush(be, datasync));
}

int cmfs_backend_check(struct cmfs_backend *be)
{
	return be->ops->check ? checked(be->ops->check(be)) : 0;
}

int cmfs_backend_write_out(struct cmfs_backend *be)
{
	return be->ops->write_out ? checked(be->ops->write_out(be)) : 0;
}

int cmfs_backend_size(struct cmfs_backend *be, uint64_t *ret)
{
	return checked(be->ops->size(be, ret));
}

int cmfs_backend_getattr(struct cmfs_backend *be, struct stat *ret)
{
	return checked(be->ops->getattr(be, ret));
}

int cmfs_backend_truncate(struct cmfs_backend *be, uint64_t size)
{
	assert(size <= INT64_MAX && !be->how.readonly && !be->geo.fixed_size);
	return checked(be->ops->truncate(be, size));
}

int cmfs_backend_allocate(struct cmfs_backend *be, enum cmfs_alloc what, bool keep_size,
			  uint64_t off, uint64_t len)
{
	assert(len > 0 && in_range(off, len) && !be->how.readonly);
	return checked(be->ops->allocate(be, what, keep_size, off, len));
}

int cmfs_backend_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret)
{
	int r = checked(be->ops->seek(be, whence, off, ret));

	assert(r < 0 || *ret >= off);
	return r;
}

int cmfs_backend_copy(struct cmfs_backend *src, uint64_t src_off, struct cmfs_backend *dst,
		      uint64_t dst_off, size_t len, size_t *ret_len)
{
	int r;

	assert(len > 0 && in_range(src_off, len) && in_range(dst_off, len) && !dst->how.readonly);
	if (src->ops != dst->ops || !src->ops->copy)
		return -EOPNOTSUPP;
	r = checked(src->ops->copy(src, src_off, dst, dst_off, len, ret_len));
	assert(r < 0 || *ret_len <= len);
	return r;
}

int cmfs_backend_wait_others(struct cmfs_backend *be)
{
	return be->ops->wait_others ? checked(be->ops->wait_others(be)) : 0;
}

int cmfs_backend_set_sync(struct cmfs_backend *be, bool on)
{
	if (!be->ops->set_sync)
		return on ? -EOPNOTSUPP : 0;
	return checked(be->ops->set_sync(be, on));
}

int cmfs_backend_finish_sync(struct cmfs_backend *be)
{
	return be->ops->finish_sync ? checked(be->ops->finish_sync(be)) : 0;
}

void cmfs_backend_drop_cache(struct cmfs_backend *be)
{
	if (be->ops->drop_cache)
		be->ops->drop_cache(be);
}
