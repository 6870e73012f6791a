// SPDX-License-Identifier: GPL-2.0-or-later
#include "mem_store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What lies beyond the end: whoever reads it, or grows over it without zeroing, shows. */
#define POISON 0xa5

struct bytes {
	uint8_t *data;
	uint64_t size, capacity;
};

struct mem_store {
	pthread_mutex_t lock; /* protects all below */
	struct bytes now, durable;
	uint64_t max_size;
	uint64_t low, high; /* of now.size, since asked last */
	bool lost;	    /* a flush has failed */
};

static void resize(struct bytes *b, uint64_t size)
{
	if (size > b->capacity) {
		uint64_t capacity = size * 2;
		uint8_t *data = realloc(b->data, capacity);

		if (!data)
			abort();
		memset(data + b->capacity, POISON, capacity - b->capacity);
		b->data = data;
		b->capacity = capacity;
	}
	if (size > b->size)
		memset(b->data + b->size, 0, size - b->size);
	else if (size < b->size)
		memset(b->data + size, POISON, b->size - size);
	b->size = size;
}

static void put(struct bytes *b, const void *buf, size_t len, uint64_t off)
{
	if (off + len > b->size)
		resize(b, off + len);
	memcpy(b->data + off, buf, len);
}

static void note_size(struct mem_store *store)
{
	if (store->now.size < store->low)
		store->low = store->now.size;
	if (store->now.size > store->high)
		store->high = store->now.size;
}

struct mem_store *mem_store_create(uint64_t size, uint64_t max_size)
{
	struct mem_store *store = calloc(1, sizeof(*store));

	if (!store)
		abort();
	pthread_mutex_init(&store->lock, NULL);
	store->max_size = max_size;
	store->low = store->high = size;
	resize(&store->now, size);
	resize(&store->durable, size);
	return store;
}

void mem_store_destroy(struct mem_store *store)
{
	pthread_mutex_destroy(&store->lock);
	free(store->now.data);
	free(store->durable.data);
	free(store);
}

static struct bytes *copy_of(struct mem_store *store, enum mem_copy which)
{
	return which == MEM_NOW ? &store->now : &store->durable;
}

size_t mem_store_read(struct mem_store *store, enum mem_copy which, void *buf, size_t len,
		      uint64_t off)
{
	const struct bytes *b = copy_of(store, which);
	size_t got = 0;

	pthread_mutex_lock(&store->lock);
	if (off < b->size) {
		got = b->size - off < len ? b->size - off : len;
		memcpy(buf, b->data + off, got);
	}
	pthread_mutex_unlock(&store->lock);
	return got;
}

int mem_store_write(struct mem_store *store, const void *buf, size_t len, uint64_t off,
		    bool durable)
{
	int r = 0;

	pthread_mutex_lock(&store->lock);
	if (off + len > store->max_size) {
		r = -EFBIG;
	} else {
		put(&store->now, buf, len, off);
		if (durable)
			put(&store->durable, buf, len, off);
		note_size(store);
	}
	pthread_mutex_unlock(&store->lock);
	return r;
}

int mem_store_truncate(struct mem_store *store, uint64_t size)
{
	int r = 0;

	pthread_mutex_lock(&store->lock);
	if (size > store->max_size)
		r = -EFBIG;
	else
		resize(&store->now, size);
	note_size(store);
	pthread_mutex_unlock(&store->lock);
	return r;
}

static int reserve_locked(struct mem_store *store, uint64_t end)
{
	if (end > store->max_size)
		return -EFBIG;
	if (end > store->now.size)
		resize(&store->now, end);
	note_size(store);
	return 0;
}

int mem_store_reserve(struct mem_store *store, uint64_t end)
{
	int r;

	pthread_mutex_lock(&store->lock);
	r = reserve_locked(store, end);
	pthread_mutex_unlock(&store->lock);
	return r;
}

int mem_store_zero(struct mem_store *store, uint64_t off, uint64_t len, bool keep_size)
{
	uint64_t end = off + len;
	int r = 0;

	pthread_mutex_lock(&store->lock);
	if (!keep_size)
		r = reserve_locked(store, end);
	if (end > store->now.size)
		end = store->now.size;
	if (r == 0 && off < end)
		memset(store->now.data + off, 0, end - off);
	pthread_mutex_unlock(&store->lock);
	return r;
}

void mem_store_flush(struct mem_store *store, bool fail)
{
	pthread_mutex_lock(&store->lock);
	store->lost |= fail;
	if (!store->lost) {
		resize(&store->durable, store->now.size);
		if (store->now.size > 0)
			memcpy(store->durable.data, store->now.data, store->now.size);
	}
	pthread_mutex_unlock(&store->lock);
}

uint64_t mem_store_size(struct mem_store *store, enum mem_copy which)
{
	uint64_t size;

	pthread_mutex_lock(&store->lock);
	size = copy_of(store, which)->size;
	pthread_mutex_unlock(&store->lock);
	return size;
}

bool mem_store_holds(struct mem_store *store, enum mem_copy which, uint64_t off, const void *bytes,
		     size_t len)
{
	const struct bytes *b = copy_of(store, which);
	bool same;

	pthread_mutex_lock(&store->lock);
	same = len == 0 || (off + len <= b->size && memcmp(b->data + off, bytes, len) == 0);
	pthread_mutex_unlock(&store->lock);
	return same;
}

bool mem_store_is_durable(struct mem_store *store)
{
	const struct bytes *now = &store->now, *durable = &store->durable;
	bool same;

	pthread_mutex_lock(&store->lock);
	same = now->size == durable->size &&
	       (now->size == 0 || memcmp(now->data, durable->data, now->size) == 0);
	pthread_mutex_unlock(&store->lock);
	return same;
}

void mem_store_size_range(struct mem_store *store, uint64_t *ret_low, uint64_t *ret_high)
{
	pthread_mutex_lock(&store->lock);
	*ret_low = store->low;
	*ret_high = store->high;
	store->low = store->high = store->now.size;
	pthread_mutex_unlock(&store->lock);
}
