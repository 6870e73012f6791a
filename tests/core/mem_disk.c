// SPDX-License-Identifier: GPL-2.0-or-later
#include "mem_disk.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LOG_SIZE 64

struct mem_disk {
	struct mem_config config;
	struct mem_store *store;
	atomic_uint opened, openings; /* ever, now */

	pthread_mutex_t lock; /* protects all below */
	unsigned int count[MEM_OPS];
	struct mem_event log[LOG_SIZE];
	size_t logged;
	struct {
		unsigned int skip, count;
		int error;
	} fail[MEM_OPS];
	int untold; /* error of a loss that nobody was told of, or 0 */
};

struct mem_disk *mem_disk_create(const struct mem_config *config)
{
	struct mem_disk *disk = calloc(1, sizeof(*disk));

	if (!disk)
		abort();
	disk->config = *config;
	disk->store = mem_store_create(config->size, config->max_size ? config->max_size : 1 << 20);
	pthread_mutex_init(&disk->lock, NULL);
	return disk;
}

void mem_disk_destroy(struct mem_disk *disk)
{
	assert(atomic_load(&disk->openings) == 0);
	mem_store_destroy(disk->store);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

struct mem_store *mem_disk_store(struct mem_disk *disk)
{
	return disk->store;
}

unsigned int mem_disk_openings(struct mem_disk *disk)
{
	return atomic_load(&disk->openings);
}

void mem_disk_fail(struct mem_disk *disk, enum mem_op op, unsigned int skip, unsigned int count,
		   int error)
{
	pthread_mutex_lock(&disk->lock);
	disk->fail[op].skip = skip;
	disk->fail[op].count = count;
	disk->fail[op].error = error;
	pthread_mutex_unlock(&disk->lock);
}

void mem_disk_lose(struct mem_disk *disk, int error)
{
	mem_store_flush(disk->store, true);
	pthread_mutex_lock(&disk->lock);
	disk->untold = error;
	pthread_mutex_unlock(&disk->lock);
}

unsigned int mem_disk_count(struct mem_disk *disk, enum mem_op op)
{
	unsigned int count;

	pthread_mutex_lock(&disk->lock);
	count = disk->count[op];
	pthread_mutex_unlock(&disk->lock);
	return count;
}

size_t mem_disk_log(struct mem_disk *disk, struct mem_event *ret, size_t max)
{
	size_t n;

	pthread_mutex_lock(&disk->lock);
	n = disk->logged < max ? disk->logged : max;
	memcpy(ret, disk->log, n * sizeof(*ret));
	pthread_mutex_unlock(&disk->lock);
	return n;
}

void mem_disk_clear_log(struct mem_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	memset(disk->count, 0, sizeof(disk->count));
	disk->logged = 0;
	pthread_mutex_unlock(&disk->lock);
}

/* ---- for mem_backend.c ---- */

const struct mem_config *mem_disk_config(const struct mem_disk *disk)
{
	return &disk->config;
}

unsigned int mem_disk_count_in(struct mem_disk *disk)
{
	atomic_fetch_add(&disk->openings, 1);
	return atomic_fetch_add(&disk->opened, 1);
}

void mem_disk_count_out(struct mem_disk *disk)
{
	atomic_fetch_sub(&disk->openings, 1);
}

int mem_disk_begin(struct mem_disk *disk, const struct mem_event *event)
{
	int error = 0;

	pthread_mutex_lock(&disk->lock);
	disk->count[event->op]++;
	if (disk->logged < LOG_SIZE)
		disk->log[disk->logged++] = *event;
	if (disk->fail[event->op].skip > 0) {
		disk->fail[event->op].skip--;
	} else if (disk->fail[event->op].count > 0) {
		disk->fail[event->op].count--;
		error = disk->fail[event->op].error;
	}
	pthread_mutex_unlock(&disk->lock);
	return error;
}

int mem_disk_take_loss(struct mem_disk *disk)
{
	int error;

	pthread_mutex_lock(&disk->lock);
	error = disk->untold;
	disk->untold = 0;
	pthread_mutex_unlock(&disk->lock);
	return error;
}
