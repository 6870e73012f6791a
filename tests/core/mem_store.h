/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_MEM_STORE_H
#define CMFS_TEST_MEM_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bytes with a volatile write cache, in memory: the content as it is now, and
 * the durable content, which is what a power cut would leave if it took all that
 * it may. Only mem_store_flush() and durable writes change the latter.
 *
 * Pessimistic wherever a promise leaves room: a durable write makes its own bytes
 * durable and no others, a failed flush loses for good what it did not write (as
 * Linux does: the pages count as clean), and a later one reports success.
 *
 * Any thread; each call is atomic.
 */
struct mem_store;

enum mem_copy {
	MEM_NOW,
	MEM_DURABLE,
};

/* @size bytes of zeroes, durable; content never ends beyond @max_size. */
struct mem_store *mem_store_create(uint64_t size, uint64_t max_size);
void mem_store_destroy(struct mem_store *store);

size_t mem_store_read(struct mem_store *store, enum mem_copy which, void *buf, size_t len,
		      uint64_t off);
int mem_store_write(struct mem_store *store, const void *buf, size_t len, uint64_t off,
		    bool durable);
int mem_store_truncate(struct mem_store *store, uint64_t size);
int mem_store_zero(struct mem_store *store, uint64_t off, uint64_t len, bool keep_size);
int mem_store_reserve(struct mem_store *store, uint64_t end); /* grow to @end at least */
void mem_store_flush(struct mem_store *store, bool fail);

uint64_t mem_store_size(struct mem_store *store, enum mem_copy which);

/* Are the bytes [off, off + len) there, and equal to @bytes? */
bool mem_store_holds(struct mem_store *store, enum mem_copy which, uint64_t off, const void *bytes,
		     size_t len);

/* Would a power cut change nothing? */
bool mem_store_is_durable(struct mem_store *store);

/* The smallest and the largest size that the content had since asked last. */
void mem_store_size_range(struct mem_store *store, uint64_t *ret_low, uint64_t *ret_high);

#endif
