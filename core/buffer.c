// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmfs/buffer.h"

#include <pthread.h>
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

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* its destructor runs at a thread's end, __thread's would not */
static int key_error;
static __thread struct buffers *mine;

static void destroy(void *arg)
{
	struct buffers *b = arg;

	for (int i = 0; i < CMFS_BUFFERS; i++)
		free(b->use[i].mem);
	free(b);
}

static void create_key(void)
{
	key_error = pthread_key_create(&key, destroy);
}

static struct buffers *my_buffers(void)
{
	if (mine)
		return mine;
	pthread_once(&once, create_key);
	if (key_error)
		return NULL; /* UNTESTED: needs a process out of keys */
	mine = calloc(1, sizeof(*mine));
	if (mine && pthread_setspecific(key, mine) != 0) {
		free(mine); /* UNTESTED: ENOMEM only */
		mine = NULL;
	}
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
