// SPDX-License-Identifier: GPL-2.0-or-later
/* The promises P1 to P4 on an image, as what a power cut would leave shows them. */
#include "harness.h"

#include "image_util.h"
#include "mem_hold.h"

/* For each mode on each kind of backend. */
#define FOR_EACH_MODE_AND_KIND(mode, kind)                                                         \
	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++)                       \
		for (const struct mem_config *kind = mem_kinds; kind < mem_kinds + MEM_KINDS;      \
		     kind++)

static const struct cmfs_cache_props *props_of(enum cmfs_cache_mode mode)
{
	return cmfs_cache_props(mode);
}

/* ---- P1 ---- */

static int random_change(struct mem_image *m, struct rnd *rnd)
{
	uint64_t off = rnd_below(rnd, 20000), len = 1 + rnd_below(rnd, 5000);
	size_t got;

	switch (rnd_below(rnd, 6)) {
	case 0:
		return cmfs_image_truncate(m->image, off);
	case 1:
		return cmfs_image_allocate(m->image, CMFS_ALLOC_ALLOCATE, false, off, len);
	case 2:
		return cmfs_image_allocate(m->image, CMFS_ALLOC_PUNCH, true, off, len);
	case 3:
		return cmfs_image_allocate(m->image, CMFS_ALLOC_ZERO, false, off, len);
	case 4:
		return cmfs_image_copy(m->image, off, m->image, off + len, len, &got);
	default:
		return mem_image_fill(m, 1 + (int)rnd_below(rnd, 255), len, off, CMFS_VOLATILE);
	}
}

static void test_change_in_a_sync_mode_is_durable_on_return(void **state)
{
	struct mem_image m;
	struct rnd rnd;

	rnd_init(&rnd, 1);
	FOR_EACH_MODE_AND_KIND(mode, kind)
	{
		if (!props_of(mode)->dsync)
			continue;
		mem_image_open(&m, mode, kind);
		for (int i = 0; i < 2000; i++) {
			assert_int_equal(random_change(&m, &rnd), 0);
			assert_true(mem_store_is_durable(m.store));
		}
		mem_image_finish(&m);
	}
}

static void test_change_in_a_flush_mode_asks_for_no_flush(void **state)
{
	struct mem_image m;
	struct rnd rnd;

	rnd_init(&rnd, 2);
	FOR_EACH_MODE_AND_KIND(mode, kind)
	{
		if (props_of(mode)->dsync)
			continue;
		mem_image_open(&m, mode, kind);
		for (int i = 0; i < 100; i++)
			assert_int_equal(random_change(&m, &rnd), 0);
		assert_int_equal(mem_image_flushes(&m), 0);
		assert_int_equal(mem_store_size(m.store, MEM_DURABLE), 0);
		mem_image_finish(&m);
	}
}

/* ---- P2 ---- */

static void test_flush_when_honoured_makes_all_durable(void **state)
{
	struct mem_image m;
	struct rnd rnd;

	rnd_init(&rnd, 3);
	FOR_EACH_MODE_AND_KIND(mode, kind)
	{
		mem_image_open(&m, mode, kind);
		for (int i = 0; i < 200 && props_of(mode)->flush; i++) {
			assert_int_equal(random_change(&m, &rnd), 0);
			assert_int_equal(random_change(&m, &rnd), 0);
			assert_int_equal(cmfs_image_flush(m.image, i % 2 == 0), 0);
			assert_true(mem_store_is_durable(m.store));
		}
		mem_image_finish(&m);
	}
}

static void test_flush_passes_on_whether_it_is_a_datasync(void **state)
{
	struct mem_event log[2];
	struct mem_image m;

	mem_image_open(&m, CMFS_CACHE_WRITEBACK, NULL);
	assert_int_equal(cmfs_image_flush(m.image, true), 0);
	assert_int_equal(cmfs_image_flush(m.image, false), 0);
	assert_int_equal(mem_disk_log(m.disk, log, 2), 2);
	assert_true(log[0].op == MEM_FLUSH && log[0].datasync);
	assert_true(log[1].op == MEM_FLUSH && !log[1].datasync);
	mem_image_finish(&m);
}

#define WRITERS 3
#define SLOT(i) ((i) * (uint64_t)61 + 7)

struct writer {
	struct thread thread;
	struct cmfs_image *image;
	uint64_t off;
	_Atomic uint64_t acknowledged;
	atomic_bool *stop;
};

static void write_numbers(void *arg)
{
	struct writer *w = arg;
	size_t done;

	for (uint64_t n = 1; !atomic_load(w->stop); n++) {
		THREAD_CHECK(cmfs_image_write(w->image, &n, sizeof(n), w->off, CMFS_VOLATILE,
					      &done) == 0);
		atomic_store(&w->acknowledged, n);
	}
}

static void test_flush_while_others_write_covers_what_was_acknowledged(void **state)
{
	struct writer writers[WRITERS];
	uint64_t before[WRITERS], durable;
	struct mem_image m;
	atomic_bool stop;

	FOR_EACH_MODE_AND_KIND(mode, kind)
	{
		if (!props_of(mode)->flush)
			continue;
		mem_image_open(&m, mode, kind);
		atomic_init(&stop, false);
		for (size_t i = 0; i < WRITERS; i++) {
			writers[i] =
				(struct writer){ .image = m.image, .off = SLOT(i), .stop = &stop };
			thread_start(&writers[i].thread, write_numbers, &writers[i]);
		}
		for (int round = 0; round < 200; round++) {
			for (size_t i = 0; i < WRITERS; i++)
				before[i] = atomic_load(&writers[i].acknowledged);
			assert_int_equal(cmfs_image_flush(m.image, true), 0);
			for (size_t i = 0; i < WRITERS; i++) {
				durable = 0;
				mem_store_read(m.store, MEM_DURABLE, &durable, sizeof(durable),
					       SLOT(i));
				assert_true(durable >= before[i]);
			}
		}
		atomic_store(&stop, true);
		for (size_t i = 0; i < WRITERS; i++)
			thread_join(&writers[i].thread);
		mem_image_finish(&m);
	}
}

static void flush_image(void *arg)
{
	THREAD_CHECK(cmfs_image_flush(arg, true) == 0);
}

/* One that is under way has perhaps passed by what was written meanwhile. */
static void test_flush_while_another_one_runs_covers_what_was_written_since(void **state)
{
	struct mem_hold hold = MEM_HOLD_INITIALIZER;
	struct mem_config config;
	struct mem_image m;
	struct thread first, second;

	FOR_EACH_MODE_AND_KIND(mode, kind)
	{
		if (!props_of(mode)->flush || props_of(mode)->dsync)
			continue; /* of a sync mode's writes, each would wait for the first */
		config = *kind;
		config.hook = mem_hold_hook;
		config.hook_arg = &hold;
		mem_image_open(&m, mode, &config);
		mem_hold_arm(&hold, MEM_FLUSH, MEM_AFTER);
		thread_start(&first, flush_image, m.image);
		mem_hold_wait(&hold);
		assert_int_equal(mem_image_fill(&m, 'x', 1000, 77, CMFS_VOLATILE), 0);
		thread_start(&second, flush_image, m.image);
		linger();
		mem_hold_release(&hold);
		thread_join(&first);
		thread_join(&second);
		assert_true(mem_store_is_durable(m.store));
		mem_image_finish(&m);
	}
}

static void test_close_when_flushes_are_honoured_makes_all_durable(void **state)
{
	struct mem_image m;

	FOR_EACH_MODE_AND_KIND(mode, kind)
	{
		mem_image_open(&m, mode, kind);
		assert_int_equal(mem_image_fill(&m, 'x', 1000, 77, CMFS_VOLATILE), 0);
		assert_int_equal(mem_image_close(&m), 0);
		assert_int_equal(mem_store_is_durable(m.store), props_of(mode)->flush);
		assert_int_equal(mem_disk_openings(m.disk), 0);
		mem_image_finish(&m);
	}
}

/* ---- P3 ---- */

static void test_unsafe_never_flushes_whatever_is_asked(void **state)
{
	struct mem_event log[64];
	struct mem_image m;
	struct rnd rnd;
	size_t n;

	rnd_init(&rnd, 4);
	for (size_t kind = 0; kind < MEM_KINDS; kind++) {
		mem_image_open(&m, CMFS_CACHE_UNSAFE, &mem_kinds[kind]);
		for (int i = 0; i < 10; i++) {
			assert_int_equal(random_change(&m, &rnd), 0);
			assert_int_equal(mem_image_fill(&m, 'x', 99, 99, CMFS_DURABLE_DATA), 0);
			assert_int_equal(mem_image_fill(&m, 'y', 99, 99, CMFS_DURABLE_ALL), 0);
			assert_int_equal(cmfs_image_flush(m.image, true), 0);
			assert_int_equal(cmfs_image_flush(m.image, false), 0);
		}
		assert_int_equal(mem_image_close(&m), 0);
		assert_int_equal(mem_image_flushes(&m), 0);
		n = mem_disk_log(m.disk, log, ARRAY_SIZE(log));
		for (size_t i = 0; i < n; i++)
			assert_int_equal(log[i].durability, CMFS_VOLATILE);
		assert_int_equal(mem_store_size(m.store, MEM_DURABLE), 0);
		mem_image_finish(&m);
	}
}

/* ---- P4 ---- */

static void test_write_when_durability_is_asked_is_durable_but_in_unsafe(void **state)
{
	struct mem_image m;

	FOR_EACH_MODE_AND_KIND(mode, kind)
	{
		for (int asked = CMFS_VOLATILE; asked <= CMFS_DURABLE_ALL; asked++) {
			bool durable = props_of(mode)->flush &&
				       (props_of(mode)->dsync || asked != CMFS_VOLATILE);

			mem_image_open(&m, mode, kind);
			/* 1000 bytes in parts: exact, whole blocks, exact */
			assert_int_equal(mem_image_fill(&m, 'a', 10000, 5, CMFS_VOLATILE), 0);
			assert_int_equal(
				mem_image_fill(&m, 'b', 10000, 7001, (enum cmfs_durability)asked),
				0);
			assert_int_equal(mem_image_holds(&m, MEM_DURABLE, 'b', 10000, 7001),
					 durable);
			assert_true(mem_image_holds(&m, MEM_NOW, 'b', 10000, 7001));
			mem_image_finish(&m);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_change_in_a_sync_mode_is_durable_on_return),
		cmocka_unit_test(test_change_in_a_flush_mode_asks_for_no_flush),
		cmocka_unit_test(test_flush_when_honoured_makes_all_durable),
		cmocka_unit_test(test_flush_passes_on_whether_it_is_a_datasync),
		cmocka_unit_test(test_flush_while_others_write_covers_what_was_acknowledged),
		cmocka_unit_test(test_flush_while_another_one_runs_covers_what_was_written_since),
		cmocka_unit_test(test_close_when_flushes_are_honoured_makes_all_durable),
		cmocka_unit_test(test_unsafe_never_flushes_whatever_is_asked),
		cmocka_unit_test(test_write_when_durability_is_asked_is_durable_but_in_unsafe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
