// SPDX-License-Identifier: GPL-2.0-or-later
/* Thousands of live switches (P7) under requests of other threads. */
#include "harness.h"

#include "image_util.h"

#include <sched.h>
#include <string.h>

#define SWITCHES 1000
#define WRITERS	 4
#define RECORD	 203 /* bytes a writer owns; odd, so that neighbours share blocks */

static const struct cmfs_cache_props *props_of(enum cmfs_cache_mode mode)
{
	return cmfs_cache_props(mode);
}

struct traffic {
	struct mem_image m;
	/*
	 * Odd while a sync mode is in force and no switch is under way: two equal
	 * odd values around a write mean that it ran in a sync mode.
	 */
	_Atomic uint64_t phase;
	atomic_bool stop;
};

struct writer {
	struct thread thread;
	struct traffic *traffic;
	uint64_t off;
	_Atomic uint64_t acknowledged;
};

/* A record is one number, over and over: a torn one shows. */
static void make_record(uint64_t *record, uint64_t n)
{
	for (size_t i = 0; i <= RECORD / sizeof(n); i++)
		record[i] = n;
}

#define RECORD_WORDS (RECORD / sizeof(uint64_t) + 1)

static uint64_t durable_number(struct traffic *t, uint64_t off)
{
	uint64_t n = 0;

	mem_store_read(t->m.store, MEM_DURABLE, &n, sizeof(n), off);
	return n;
}

static void write_records(void *arg)
{
	struct writer *w = arg;
	struct traffic *t = w->traffic;
	uint64_t record[RECORD_WORDS], seen[RECORD_WORDS];
	size_t got;

	for (uint64_t n = 1; !atomic_load(&t->stop); n++) {
		uint64_t phase = atomic_load(&t->phase);

		make_record(record, n);
		THREAD_CHECK(cmfs_image_write(t->m.image, record, RECORD, w->off, CMFS_VOLATILE,
					      &got) == 0);
		if (phase % 2 == 1 && atomic_load(&t->phase) == phase)
			THREAD_CHECK(durable_number(t, w->off) >= n);
		atomic_store(&w->acknowledged, n);

		THREAD_CHECK(cmfs_image_read(t->m.image, seen, RECORD, w->off, &got) == 0);
		THREAD_CHECK(got == RECORD && memcmp(seen, record, RECORD) == 0);
	}
}

/* Requests of all other kinds, beyond the records: none may fail. */
static void do_other_things(void *arg)
{
	struct traffic *t = arg;
	const uint64_t base = WRITERS * RECORD;
	struct rnd rnd;
	size_t got;
	uint64_t pos;

	rnd_init(&rnd, 50);
	while (!atomic_load(&t->stop)) {
		uint64_t off = base + rnd_below(&rnd, 5000), len = 1 + rnd_below(&rnd, 500);

		THREAD_CHECK(cmfs_image_truncate(t->m.image, off) == 0);
		THREAD_CHECK(cmfs_image_allocate(t->m.image, CMFS_ALLOC_ZERO, false, off, len) ==
			     0);
		THREAD_CHECK(cmfs_image_copy(t->m.image, 0, t->m.image, off, base, &got) == 0);
		THREAD_CHECK(cmfs_image_seek(t->m.image, CMFS_SEEK_HOLE, 0, &pos) == 0);
		THREAD_CHECK(cmfs_image_flush(t->m.image, true) == 0);
	}
}

/* One switch, with a look at what must be durable after it. */
static void switch_once(struct traffic *t, struct writer *writers, enum cmfs_cache_mode to)
{
	uint64_t before[WRITERS];

	if (atomic_load(&t->phase) % 2 == 1)
		atomic_fetch_add(&t->phase, 1);
	for (size_t i = 0; i < WRITERS; i++)
		before[i] = atomic_load(&writers[i].acknowledged);
	assert_int_equal(cmfs_image_set_cache(t->m.image, to, NULL), 0);
	if (props_of(to)->dsync)
		atomic_fetch_add(&t->phase, 1);
	for (size_t i = 0; i < WRITERS && props_of(to)->flush; i++)
		assert_true(durable_number(t, writers[i].off) >= before[i]);
}

static void start_writers(struct traffic *t, struct writer *writers)
{
	for (size_t i = 0; i < WRITERS; i++) {
		writers[i].traffic = t;
		writers[i].off = i * RECORD;
		atomic_init(&writers[i].acknowledged, 0);
		thread_start(&writers[i].thread, write_records, &writers[i]);
	}
}

static void test_requests_under_thousands_of_switches_are_never_lost(void **state)
{
	static struct traffic t;
	struct writer writers[WRITERS];
	struct thread other;
	struct rnd rnd;

	rnd_init(&rnd, 51);
	for (size_t kind = 0; kind < MEM_KINDS; kind++) {
		mem_image_open(&t.m, CMFS_CACHE_WRITEBACK, &mem_kinds[kind]);
		atomic_init(&t.phase, 0);
		atomic_init(&t.stop, false);
		/* The records lie inside the content, whatever do_other_things() does. */
		assert_int_equal(cmfs_image_truncate(t.m.image, WRITERS * RECORD), 0);
		start_writers(&t, writers);
		thread_start(&other, do_other_things, &t);
		for (int i = 0; i < SWITCHES; i++) {
			switch_once(&t, writers,
				    (enum cmfs_cache_mode)rnd_below(&rnd, CMFS_CACHE_MODES));
			if (i % 4 == 0)
				sched_yield();
		}
		atomic_store(&t.stop, true);
		thread_join(&other);
		for (size_t i = 0; i < WRITERS; i++) {
			uint64_t record[RECORD_WORDS];

			thread_join(&writers[i].thread);
			make_record(record, atomic_load(&writers[i].acknowledged));
			assert_true(mem_store_holds(t.m.store, MEM_NOW, writers[i].off, record,
						    RECORD));
		}
		assert_int_equal(mem_disk_openings(t.m.disk), 1);
		mem_image_finish(&t.m);
	}
}

struct switcher {
	struct thread thread;
	struct cmfs_image *image;
	uint64_t stream;
};

static void switch_often(void *arg)
{
	struct switcher *s = arg;
	struct rnd rnd;

	rnd_init(&rnd, s->stream);
	for (int i = 0; i < SWITCHES; i++)
		THREAD_CHECK(cmfs_image_set_cache(
				     s->image,
				     (enum cmfs_cache_mode)rnd_below(&rnd, CMFS_CACHE_MODES),
				     NULL) == 0);
}

static void test_switches_by_many_threads_follow_one_another(void **state)
{
	struct switcher switchers[3];
	struct cmfs_open_how how;
	struct mem_image m;

	mem_image_open(&m, CMFS_CACHE_WRITEBACK, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(switchers); i++) {
		switchers[i] = (struct switcher){ .image = m.image, .stream = 60 + i };
		thread_start(&switchers[i].thread, switch_often, &switchers[i]);
	}
	for (int i = 0; i < 2000; i++)
		assert_int_equal(mem_image_fill(&m, 'a', 1000, 77, CMFS_VOLATILE), 0);
	for (size_t i = 0; i < ARRAY_SIZE(switchers); i++)
		thread_join(&switchers[i].thread);
	/* The mode and the backend belong together. */
	how = cmfs_image_open_how(cmfs_image_cache(m.image), false);
	assert_int_equal(m.image->be->how.direct, how.direct);
	assert_int_equal(m.image->be->how.dsync, how.dsync);
	assert_int_equal(mem_disk_openings(m.disk), 1);
	mem_image_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_under_thousands_of_switches_are_never_lost),
		cmocka_unit_test(test_switches_by_many_threads_follow_one_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
