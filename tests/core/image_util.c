// SPDX-License-Identifier: GPL-2.0-or-later
#include "image_util.h"

#include "harness.h"

#include <string.h>

#define MAX_FILL 16384

const struct mem_config mem_kinds[MEM_KINDS] = {
	{ .direct = { 512, 512, 4096 }, .fua = CMFS_FUA_NATIVE },
	{ .direct = { 4096, 512, 4096 }, .fua = CMFS_FUA_EMULATE, .reopen_last = true },
	{ .direct = { 512, 4, 4096 }, .fua = CMFS_FUA_NATIVE, .copy = true },
};

static void open_image(struct mem_image *m, enum cmfs_cache_mode mode,
		       const struct mem_config *kind, bool readonly)
{
	struct cmfs_open_how how = cmfs_image_open_how(mode, readonly);

	m->disk = mem_disk_create(kind ? kind : &mem_kinds[0]);
	m->store = mem_disk_store(m->disk);
	assert_int_equal(cmfs_image_create(mem_backend_open(m->disk, &how), mode, &m->image, NULL),
			 0);
}

void mem_image_open(struct mem_image *m, enum cmfs_cache_mode mode, const struct mem_config *kind)
{
	open_image(m, mode, kind, false);
}

void mem_image_open_readonly(struct mem_image *m, enum cmfs_cache_mode mode)
{
	open_image(m, mode, NULL, true);
}

int mem_image_close(struct mem_image *m)
{
	int r = cmfs_image_close(m->image);

	m->image = NULL;
	return r;
}

void mem_image_finish(struct mem_image *m)
{
	mem_image_close(m);
	mem_disk_destroy(m->disk);
}

int mem_image_fill(struct mem_image *m, int fill, size_t len, uint64_t off,
		   enum cmfs_durability asked)
{
	char buf[MAX_FILL];
	size_t done;

	memset(buf, fill, len);
	return cmfs_image_write(m->image, buf, len, off, asked, &done);
}

bool mem_image_holds(struct mem_image *m, enum mem_copy which, int fill, size_t len, uint64_t off)
{
	char buf[MAX_FILL];

	memset(buf, fill, len);
	return mem_store_holds(m->store, which, off, buf, len);
}

unsigned int mem_image_flushes(struct mem_image *m)
{
	return mem_disk_count(m->disk, MEM_FLUSH);
}

bool gate_is_closed(struct cmfs_image *image)
{
	return atomic_load(&image->gate.state) & 1;
}

uint64_t gate_waiting(struct cmfs_image *image)
{
	uint64_t waiting;

	cmfs_mutex_lock(&image->gate.lock);
	waiting = image->gate.waiting;
	cmfs_mutex_unlock(&image->gate.lock);
	return waiting;
}
