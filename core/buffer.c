// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmfs/buffer.h"

#include "per_thread.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Bytes of each buffer that cmfs_buffer_trim() leaves. */
#define KEPT CMFS_BUFFER_ALIGN

struct buffers {
	struct {
		void *mem;
		size_t size;
	} use[CMFS_BUFFERS];
};

static void destroy(void *arg)
{
	struct buffers *b = arg;

	for (int i = 0; i < CMFS_BUFFERS; i++)
		free(b->use[i].mem);
	free(b);
}

static struct cmfs_per_thread per_thread = CMFS_PER_THREAD(struct buffers, destroy);
static __thread struct buffers *mine;

static struct buffers *my_buffers(void)
{
	if (!mine)
		mine = cmfs_per_thread_make(&per_thread);
	return mine;
}

void *cmfs_buffer_get(enum cmfs_buffer use, size_t len)
{
	struct buffers *b = my_buffers();
	size_t size = (len + CMFS_BUFFER_ALIGN - 1) & ~(size_t)(CMFS_BUFFER_ALIGN - 1);

	if (!b || size < len)
		return NULL;
	if (b->use[use].size < size) {
		free(b->use[use].mem);
		b->use[use].mem = aligned_alloc(CMFS_BUFFER_ALIGN, size);
		b->use[use].size = b->use[use].mem ? size : 0;
	}
	return b->use[use].mem;
}

void cmfs_buffer_trim(void)
{
	if (!mine)
		return;
	for (int i = 0; i < CMFS_BUFFERS; i++) {
		char *mem = mine->use[i].mem;

		/* Whole pages all of them, as address and size are aligned. */
		if (mine->use[i].size > KEPT)
			madvise(mem + KEPT, mine->use[i].size - KEPT, MADV_DONTNEED);
	}
}
