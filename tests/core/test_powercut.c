// SPDX-License-Identifier: GPL-2.0-or-later
/* The power-cut layer's rules one by one; test_powercut_random.c has them together. */
#include "harness.h"

#include "mem_hold.h"
#include "powercut_private.h"
#include "powercut_util.h"

#include <errno.h>
#include <string.h>

#define KIB 1024

static const struct mem_config plain = { .fua = CMFS_FUA_NATIVE, .size = 16 * KIB };

static struct cut_disk d;

static int set_up(void **state)
{
	cut_disk_open(&d, &plain, false, 1 << 20);
	return 0;
}

static int tear_down(void **state)
{
	cut_disk_close(&d);
	return 0;
}

static void fill(int value, size_t len, uint64_t off, enum cmfs_durability durability)
{
	assert_int_equal(cut_disk_fill(&d, value, len, off, durability), 0);
}

/* ---- what is durable when ---- */

static void test_a_write_when_nothing_flushed_it_is_seen_above_and_not_below(void **state)
{
	fill('a', KIB, 100, CMFS_VOLATILE);
	assert_true(cut_disk_shows(&d, 'a', KIB, 100));
	assert_true(cut_disk_holds(&d, 0, 16 * KIB, 0));
}

static void test_a_flush_when_there_is_a_history_makes_it_durable_once(void **state)
{
	fill('a', KIB, 100, CMFS_VOLATILE);
	fill('b', KIB, 200, CMFS_VOLATILE);
	mem_disk_clear_log(d.disk);
	assert_int_equal(cmfs_backend_flush(d.be, true), 0);
	assert_true(cut_disk_holds(&d, 'b', KIB, 200));
	assert_true(mem_store_is_durable(d.store));
	assert_int_equal(mem_disk_count(d.disk, MEM_WRITE), 1);
	assert_int_equal(mem_disk_count(d.disk, MEM_FLUSH), 1);
}

static void test_a_flush_when_nothing_is_volatile_reaches_the_disk_all_the_same(void **state)
{
	mem_disk_clear_log(d.disk);
	assert_int_equal(cmfs_backend_flush(d.be, false), 0);
	assert_int_equal(mem_disk_count(d.disk, MEM_FLUSH), 1);
}

static void test_a_durable_write_when_older_ones_are_volatile_takes_none_along(void **state)
{
	fill('a', 4 * KIB, 0, CMFS_VOLATILE);
	fill('b', KIB, KIB, CMFS_DURABLE_DATA);
	cut_disk_cut(&d, CMFS_POWERCUT_LOSE, 0);
	assert_true(cut_disk_holds(&d, 0, KIB, 0));
	assert_true(cut_disk_holds(&d, 'b', KIB, KIB));
	assert_true(cut_disk_holds(&d, 0, 2 * KIB, 2 * KIB));
}

/* Whatever is kept of what came before. */
static void test_older_bytes_when_a_durable_write_went_over_them_never_come_back(void **state)
{
	for (uint64_t seed = 0; seed < 200; seed++) {
		fill('a', 4 * KIB, 0, CMFS_VOLATILE);
		assert_int_equal(cmfs_backend_truncate(d.be, 512), 0);
		assert_int_equal(cmfs_backend_allocate(d.be, CMFS_ALLOC_ZERO, false, 0, 8 * KIB),
				 0);
		fill('b', KIB, KIB, CMFS_DURABLE_DATA);
		cut_disk_cut(&d, seed % 2 ? CMFS_POWERCUT_RANDOM : CMFS_POWERCUT_TORN, seed);
		assert_true(cut_disk_holds(&d, 'b', KIB, KIB));
	}
}

static void test_a_durable_write_when_one_covers_an_older_whole_one_leaves_no_history(void **state)
{
	fill('a', KIB, KIB, CMFS_VOLATILE);
	assert_int_equal(cut_disk_summary(&d).writes, 1);
	fill('b', 2 * KIB, KIB, CMFS_DURABLE_DATA);
	assert_int_equal(cut_disk_summary(&d).writes, 0);
	assert_int_equal(cut_disk_summary(&d).bytes, 0);
}

static void test_writes_when_the_opening_is_dsync_are_durable(void **state)
{
	const struct cmfs_open_how how = { .dsync = true };
	struct cmfs_backend *be;

	assert_int_equal(cmfs_backend_reopen(d.be, &how, &be, NULL), 0);
	cmfs_backend_close(d.be);
	d.be = be;
	fill('a', KIB, 0, CMFS_VOLATILE);
	assert_true(cut_disk_holds(&d, 'a', KIB, 0));
	assert_true(mem_store_is_durable(d.store));
	assert_int_equal(cut_disk_summary(&d).writes, 0);
}

/* ---- errors ---- */

static void test_a_flush_when_it_fails_forgets_nothing(void **state)
{
	static const enum mem_op ops[] = { MEM_WRITE, MEM_FLUSH };

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		fill('a' + (int)i, KIB, 0, CMFS_VOLATILE);
		mem_disk_fail(d.disk, ops[i], 0, 1, -ENOSPC);
		assert_int_equal(cmfs_backend_flush(d.be, true), -ENOSPC);
		assert_int_equal(cut_disk_summary(&d).writes, 1 + i);
		assert_true(cut_disk_shows(&d, 'a' + (int)i, KIB, 0));
	}
}

static void test_a_durable_write_when_it_fails_leaves_the_volatile_one_below_it(void **state)
{
	fill('a', KIB, 0, CMFS_VOLATILE);
	mem_disk_fail(d.disk, MEM_WRITE, 0, 1, -EIO);
	assert_int_equal(cut_disk_fill(&d, 'b', KIB, 0, CMFS_DURABLE_DATA), -EIO);
	assert_true(cut_disk_shows(&d, 'a', KIB, 0));
	assert_int_equal(cut_disk_summary(&d).writes, 1);
}

static void test_writing_out_when_it_fails_is_told(void **state)
{
	fill('a', KIB, 0, CMFS_VOLATILE);
	mem_disk_fail(d.disk, MEM_WRITE, 0, 1, -ENOSPC);
	assert_int_equal(cmfs_backend_write_out(d.be), -ENOSPC);
	assert_int_equal(cmfs_backend_write_out(d.be), 0);
	assert_true(cut_disk_holds(&d, 'a', KIB, 0));
}

static void test_the_last_close_when_there_is_a_history_writes_it_unflushed(void **state)
{
	struct cmfs_backend *be;

	fill('a', KIB, 0, CMFS_VOLATILE);
	assert_int_equal(cmfs_backend_reopen(d.be, &d.be->how, &be, NULL), 0);
	cmfs_backend_close(d.be);
	assert_true(cut_disk_holds(&d, 0, KIB, 0)); /* not the last */
	mem_disk_clear_log(d.disk);
	cmfs_backend_close(be);
	assert_true(cut_disk_holds(&d, 'a', KIB, 0));
	assert_int_equal(mem_disk_count(d.disk, MEM_FLUSH), 0);
	mem_disk_destroy(d.disk);
	set_up(state);
}

/* ---- cuts ---- */

static void test_a_cut_when_it_was_made_ends_all_requests_until_power_is_on(void **state)
{
	const struct cmfs_powercut_spec lose = { .kind = CMFS_POWERCUT_LOSE };
	struct cmfs_powercut_summary s;
	struct stat st;
	uint64_t n;

	fill('a', KIB, 0, CMFS_VOLATILE);
	assert_int_equal(cmfs_powercut_off(d.pc, &lose), 0);
	assert_int_equal(cut_disk_fill(&d, 'b', KIB, 0, CMFS_DURABLE_DATA), -EIO);
	assert_int_equal(cut_disk_fill(&d, 'b', KIB, 0, CMFS_VOLATILE), -EIO);
	assert_false(cut_disk_shows(&d, 'a', KIB, 0));
	assert_int_equal(cmfs_backend_flush(d.be, false), -EIO);
	assert_int_equal(cmfs_backend_truncate(d.be, 0), -EIO);
	assert_int_equal(cmfs_backend_allocate(d.be, CMFS_ALLOC_ZERO, true, 0, KIB), -EIO);
	assert_int_equal(cmfs_backend_seek(d.be, CMFS_SEEK_HOLE, 0, &n), -EIO);
	assert_int_equal(cmfs_backend_size(d.be, &n), -EIO);
	assert_int_equal(cmfs_backend_getattr(d.be, &st), -EIO);
	assert_int_equal(cmfs_powercut_summarize(d.pc, &s), -EIO);
	assert_int_equal(cmfs_powercut_settle(d.pc), 0);
	assert_int_equal(cmfs_powercut_on(d.pc), 0);
	assert_true(cut_disk_shows(&d, 0, 16 * KIB, 0));
}

static void test_a_closed_layer_when_it_is_off_writes_nothing_out(void **state)
{
	const struct cmfs_powercut_spec lose = { .kind = CMFS_POWERCUT_LOSE };

	fill('a', KIB, 0, CMFS_VOLATILE);
	assert_int_equal(cmfs_powercut_off(d.pc, &lose), 0);
	cmfs_backend_close(d.be);
	assert_true(cut_disk_holds(&d, 0, 16 * KIB, 0));
	mem_disk_destroy(d.disk);
	set_up(state);
}

static void test_a_prefix_when_it_has_n_changes_keeps_the_first_n(void **state)
{
	for (uint64_t n = 0; n < 5; n++) {
		fill('a', KIB, 0, CMFS_VOLATILE);
		fill('b', KIB, 512, CMFS_VOLATILE);
		assert_int_equal(cmfs_backend_truncate(d.be, KIB), 0);
		cut_disk_cut(&d, CMFS_POWERCUT_PREFIX, n);
		assert_true(cut_disk_holds(&d, n > 0 ? 'a' : 0, 512, 0));
		assert_true(cut_disk_holds(&d, n > 1 ? 'b' : n > 0 ? 'a' : 0, 512, 512));
		assert_int_equal(cut_disk_size(&d), n > 2 ? KIB : 16 * KIB);
		tear_down(state);
		set_up(state);
	}
}

/* Only its beginning is there, in whole sectors. */
static void test_a_torn_write_when_none_waits_is_the_newest(void **state)
{
	unsigned int seen[8] = { 0 };

	for (uint64_t seed = 0; seed < 64; seed++) {
		uint8_t bytes[4 * KIB];
		size_t n = 0;

		fill('a', 4 * KIB, 2 * KIB, CMFS_VOLATILE);
		cut_disk_cut(&d, CMFS_POWERCUT_TORN, seed);
		mem_store_read(d.store, MEM_NOW, bytes, sizeof(bytes), 2 * KIB);
		while (n < sizeof(bytes) && bytes[n] == 'a')
			n++;
		assert_in_range(n, 1, sizeof(bytes) - 1);
		for (size_t i = n; i < sizeof(bytes); i++)
			assert_int_equal(bytes[i], 0);
		assert_int_equal(n % 512, 0);
		seen[n / 512]++;
		fill(0, 4 * KIB, 2 * KIB, CMFS_VOLATILE);
		assert_int_equal(cmfs_backend_flush(d.be, true), 0);
	}
	for (size_t i = 1; i < 8; i++)
		assert_true(seen[i] > 0);
}

static void test_a_torn_write_of_one_sector_is_there_or_not(void **state)
{
	unsigned int kept = 0;

	for (uint64_t seed = 0; seed < 64; seed++) {
		fill(0, 4 * KIB, 2 * KIB, CMFS_VOLATILE);
		assert_int_equal(cmfs_backend_flush(d.be, true), 0);
		fill('a', 512, 2 * KIB, CMFS_VOLATILE);
		cut_disk_cut(&d, CMFS_POWERCUT_TORN, seed);
		if (cut_disk_holds(&d, 'a', 512, 2 * KIB))
			kept++;
		else
			assert_true(cut_disk_holds(&d, 0, 512, 2 * KIB));
	}
	assert_in_range(kept, 16, 48);
}

/* Space that nothing could hold is not walked through sector by sector. */
static void test_a_random_cut_of_huge_allocations_takes_no_time(void **state)
{
	for (int i = 0; i < 1000; i++)
		assert_int_equal(
			cmfs_backend_allocate(d.be, CMFS_ALLOC_ALLOCATE, true, 0, INT64_MAX - 4096),
			0);
	cut_disk_cut(&d, CMFS_POWERCUT_RANDOM, 1);
}

/* ---- requests in flight ---- */

struct writer {
	struct thread thread;
	int fill, result;
	enum cmfs_durability durability;
};

static void run_write(void *arg)
{
	struct writer *w = arg;

	w->result = cut_disk_fill(&d, w->fill, 4 * KIB, 4 * KIB, w->durability);
}

static void run_flush(void *arg)
{
	*(int *)arg = cmfs_backend_flush(d.be, false);
}

struct cutter {
	struct thread thread;
	struct cmfs_powercut_spec spec;
};

static void run_cut(void *arg)
{
	struct cutter *c = arg;

	THREAD_CHECK(cmfs_powercut_off(d.pc, &c->spec) == 0);
}

static bool waiting(unsigned int n)
{
	cmfs_mutex_lock(&d.pc->lock);
	for (const struct cmfs_powercut_request *q = d.pc->first; q && n > 0; q = q->next)
		n--;
	cmfs_mutex_unlock(&d.pc->lock);
	return n == 0;
}

static bool cutting(void)
{
	bool is;

	cmfs_mutex_lock(&d.pc->lock);
	is = d.pc->cutting;
	cmfs_mutex_unlock(&d.pc->lock);
	return is;
}

/*
 * A flush is being done, two writes wait for it, and the power goes: the flush ends
 * as it should, the writes get EIO; torn, a part of one of them is there.
 */
static void cut_in_flight(enum cmfs_powercut_kind kind, uint64_t seed, uint8_t *ret)
{
	static struct mem_hold hold = MEM_HOLD_INITIALIZER;
	const struct mem_config config = {
		.fua = CMFS_FUA_NATIVE, .size = 16 * KIB, .hook = mem_hold_hook, .hook_arg = &hold
	};
	struct writer w[2] = { { .fill = 'b', .durability = CMFS_VOLATILE },
			       { .fill = 'c', .durability = CMFS_DURABLE_DATA } };
	struct cutter c = { .spec = { .kind = kind, .number = seed } };
	struct thread flusher;
	int flushed = -1;

	tear_down(NULL);
	cut_disk_open(&d, &config, false, 1 << 20);
	fill('a', KIB, 0, CMFS_VOLATILE);
	mem_hold_arm(&hold, MEM_FLUSH, MEM_BEFORE);
	thread_start(&flusher, run_flush, &flushed);
	mem_hold_wait(&hold);
	for (unsigned int i = 0; i < 2; i++) {
		thread_start(&w[i].thread, run_write, &w[i]);
		WAIT_UNTIL(waiting(i + 1));
	}
	thread_start(&c.thread, run_cut, &c);
	WAIT_UNTIL(cutting());
	linger();
	assert_false(thread_done(&w[0].thread)); /* its buffer may be needed */
	mem_hold_release(&hold);
	thread_join(&flusher);
	thread_join(&w[0].thread);
	thread_join(&w[1].thread);
	thread_join(&c.thread);
	assert_int_equal(flushed, 0);
	assert_int_equal(w[0].result, -EIO);
	assert_int_equal(w[1].result, -EIO);
	assert_int_equal(cmfs_powercut_settle(d.pc), 0);
	assert_int_equal(cmfs_powercut_on(d.pc), 0);
	assert_true(cut_disk_holds(&d, 'a', KIB, 0));
	mem_store_read(d.store, MEM_NOW, ret, 4 * KIB, 4 * KIB);
}

static void test_a_cut_when_writes_wait_ends_them_and_what_is_done_is_done(void **state)
{
	uint8_t bytes[4 * KIB];

	cut_in_flight(CMFS_POWERCUT_KEEP, 0, bytes);
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
}

static void test_a_torn_cut_when_writes_wait_takes_a_part_of_one(void **state)
{
	unsigned int seen[2] = { 0 };

	for (uint64_t seed = 0; seed < 16; seed++) {
		uint8_t bytes[4 * KIB];
		size_t n = 0;

		cut_in_flight(CMFS_POWERCUT_TORN, seed, bytes);
		assert_in_range(bytes[0], 'b', 'c');
		seen[bytes[0] - 'b']++;
		while (n < sizeof(bytes) && bytes[n] == bytes[0])
			n++;
		assert_in_range(n, 1, sizeof(bytes) - 1);
		for (; n < sizeof(bytes); n++)
			assert_int_equal(bytes[n], 0);
	}
	assert_true(seen[0] > 0 && seen[1] > 0);
}

/* ---- the rest ---- */

static void test_a_spec_when_it_is_parsed_is_exact(void **state)
{
	static const char *const bad[] = { "",
					   "loose",
					   "lose ",
					   "lose:1",
					   "random",
					   "random:",
					   "random:-1",
					   "random:1x",
					   "torn: 1",
					   "prefix:+",
					   "keep:",
					   "LOSE",
					   "random:18446744073709551616" };
	struct cmfs_powercut_spec s = { .number = 99 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(cmfs_powercut_spec_parse(bad[i], &s), -EINVAL);
	assert_int_equal(s.number, 99);
	assert_int_equal(cmfs_powercut_spec_parse("lose", &s), 0);
	assert_int_equal(s.kind, CMFS_POWERCUT_LOSE);
	assert_int_equal(cmfs_powercut_spec_parse("keep", &s), 0);
	assert_int_equal(s.kind, CMFS_POWERCUT_KEEP);
	assert_int_equal(cmfs_powercut_spec_parse("random:18446744073709551615", &s), 0);
	assert_true(s.kind == CMFS_POWERCUT_RANDOM && s.number == UINT64_MAX);
	assert_int_equal(cmfs_powercut_spec_parse("torn:7", &s), 0);
	assert_true(s.kind == CMFS_POWERCUT_TORN && s.number == 7);
	assert_int_equal(cmfs_powercut_spec_parse("prefix:0", &s), 0);
	assert_true(s.kind == CMFS_POWERCUT_PREFIX && s.number == 0);
}

static void test_a_summary_when_changes_come_and_go_counts_them(void **state)
{
	struct cmfs_powercut_summary s;
	struct timespec before;

	clock_gettime(CLOCK_REALTIME, &before);
	fill('a', KIB, 0, CMFS_VOLATILE);
	fill('b', KIB, 512, CMFS_VOLATILE);
	assert_int_equal(cmfs_backend_truncate(d.be, 1200), 0);
	s = cut_disk_summary(&d);
	assert_int_equal(s.writes, 2);
	assert_int_equal(s.others, 1);
	assert_int_equal(s.bytes, 1200); /* what the truncate cut off is no data any more */
	assert_true(s.since.tv_sec >= before.tv_sec);
	assert_int_equal(cmfs_backend_flush(d.be, true), 0);
	s = cut_disk_summary(&d);
	assert_int_equal(s.writes + s.others + s.bytes, 0);
}

/* The host's file size and what it holds of a range far away cost nothing. */
static void test_a_huge_zeroed_range_when_cut_at_random_is_decided_in_pieces(void **state)
{
	assert_int_equal(cmfs_backend_allocate(d.be, CMFS_ALLOC_ZERO, false, 0, UINT64_C(1) << 40),
			 0);
	assert_int_equal(cut_disk_size(&d), UINT64_C(1) << 40);
	assert_int_equal(cmfs_backend_truncate(d.be, 16 * KIB), 0);
	cut_disk_cut(&d, CMFS_POWERCUT_PREFIX, 2);
	assert_int_equal(cut_disk_size(&d), 16 * KIB);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_write_when_nothing_flushed_it_is_seen_above_and_not_below),
		TEST(a_flush_when_there_is_a_history_makes_it_durable_once),
		TEST(a_flush_when_nothing_is_volatile_reaches_the_disk_all_the_same),
		TEST(a_durable_write_when_older_ones_are_volatile_takes_none_along),
		TEST(older_bytes_when_a_durable_write_went_over_them_never_come_back),
		TEST(a_durable_write_when_one_covers_an_older_whole_one_leaves_no_history),
		TEST(writes_when_the_opening_is_dsync_are_durable),
		TEST(a_flush_when_it_fails_forgets_nothing),
		TEST(a_durable_write_when_it_fails_leaves_the_volatile_one_below_it),
		TEST(writing_out_when_it_fails_is_told),
		TEST(the_last_close_when_there_is_a_history_writes_it_unflushed),
		TEST(a_cut_when_it_was_made_ends_all_requests_until_power_is_on),
		TEST(a_closed_layer_when_it_is_off_writes_nothing_out),
		TEST(a_prefix_when_it_has_n_changes_keeps_the_first_n),
		TEST(a_torn_write_when_none_waits_is_the_newest),
		TEST(a_torn_write_of_one_sector_is_there_or_not),
		TEST(a_random_cut_of_huge_allocations_takes_no_time),
		TEST(a_cut_when_writes_wait_ends_them_and_what_is_done_is_done),
		TEST(a_torn_cut_when_writes_wait_takes_a_part_of_one),
		TEST(a_spec_when_it_is_parsed_is_exact),
		TEST(a_summary_when_changes_come_and_go_counts_them),
		TEST(a_huge_zeroed_range_when_cut_at_random_is_decided_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
