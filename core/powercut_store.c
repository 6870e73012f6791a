// SPDX-License-Identifier: GPL-2.0-or-later
#include "powercut_store.h"

#include "temp_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cmfs_store_init(struct cmfs_store *store, uint64_t limit)
{
	*store = (struct cmfs_store){ .limit = limit, .fd = -1 };
}

void cmfs_store_finish(struct cmfs_store *store)
{
	assert(store->used == 0 && store->file_blocks == 0);
	if (store->fd >= 0)
		close(store->fd);
	store->fd = -1;
}

/* ---- the file ---- */

static int need_file(struct cmfs_store *store)
{
	if (store->fd >= 0)
		return 0;
	store->fd = cmfs_temp_file_create();
	return store->fd < 0 ? store->fd : 0;
}

static int write_all(int fd, const char *buf, size_t len, uint64_t pos)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, buf, len, (off_t)pos);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		len -= n;
		pos += n;
	}
	return 0;
}

static int read_all(int fd, char *buf, size_t len, uint64_t pos)
{
	while (len > 0) {
		ssize_t n = pread(fd, buf, len, (off_t)pos);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		buf += n;
		len -= n;
		pos += n;
	}
	return 0;
}

static int put_into_file(struct cmfs_store *store, const void *buf, struct cmfs_block *block)
{
	int r = need_file(store);

	if (r == 0)
		r = write_all(store->fd, buf, block->len, store->file_end);
	if (r < 0)
		return r;
	block->pos = store->file_end;
	store->file_end += block->len;
	store->file_blocks++;
	return 0;
}

/* Best effort: what cannot be given back costs space, no more. */
static void drop_from_file(struct cmfs_store *store, const struct cmfs_block *block)
{
	if (--store->file_blocks > 0) {
		fallocate(store->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)block->pos,
			  (off_t)block->len);
	} else if (ftruncate(store->fd, 0) == 0) {
		store->file_end = 0;
	}
}

/* ---- blocks ---- */

int cmfs_store_put(struct cmfs_store *store, const void *buf, size_t len, struct cmfs_block **ret)
{
	struct cmfs_block *block = malloc(sizeof(*block));
	int r = 0;

	if (!block)
		return -ENOMEM;
	*block = (struct cmfs_block){ .len = len };
	if (len <= store->limit && store->used <= store->limit - len)
		block->mem = malloc(len);
	if (block->mem) {
		memcpy(block->mem, buf, len);
		store->used += len;
	} else {
		r = put_into_file(store, buf, block);
	}
	if (r < 0) {
		free(block);
		return r;
	}
	*ret = block;
	return 0;
}

void cmfs_store_drop(struct cmfs_store *store, struct cmfs_block *block)
{
	if (!block)
		return;
	if (block->mem)
		store->used -= block->len;
	else
		drop_from_file(store, block);
	free(block->mem);
	free(block);
}

int cmfs_store_get(const struct cmfs_store *store, const struct cmfs_block *block, uint64_t off,
		   void *buf, size_t len)
{
	assert(off <= block->len && len <= block->len - off);
	if (!block->mem)
		return read_all(store->fd, buf, len, block->pos + off);
	memcpy(buf, (const char *)block->mem + off, len);
	return 0;
}
