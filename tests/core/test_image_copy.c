// SPDX-License-Identifier: GPL-2.0-or-later
/* Copies inside an image and between two, by the backend and by hand. */
#include "harness.h"

#include "image_util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BIG (2600 * 1024) /* more than what is moved at a time, and no multiple of it */

/* Copy all of it, however little goes at a time; returns what was done before an error. */
static size_t copy_all(struct cmfs_image *src, uint64_t src_off, struct cmfs_image *dst,
		       uint64_t dst_off, size_t len)
{
	size_t done = 0, got = 1;

	while (done < len && got > 0) {
		if (cmfs_image_copy(src, src_off + done, dst, dst_off + done, len - done, &got) < 0)
			break;
		done += got;
	}
	return done;
}

static void test_copy_inside_an_image_moves_the_bytes(void **state)
{
	struct mem_image m;

	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		for (size_t kind = 0; kind < MEM_KINDS; kind++) {
			mem_image_open(&m, mode, &mem_kinds[kind]);
			assert_int_equal(mem_image_fill(&m, 'a', 9000, 11, CMFS_VOLATILE), 0);
			assert_int_equal(copy_all(m.image, 100, m.image, 20001, 7000), 7000);
			assert_true(mem_image_holds(&m, MEM_NOW, 'a', 7000, 20001));
			assert_true(mem_image_holds(&m, MEM_NOW, 0, 20001 - 9011, 9011));
			assert_int_equal(mem_store_size(m.store, MEM_NOW), 27001);
			mem_image_finish(&m);
		}
	}
}

static void test_copy_between_images_keeps_the_destinations_promise(void **state)
{
	struct mem_image src, dst;

	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		for (size_t kind = 0; kind < MEM_KINDS * MEM_KINDS; kind++) {
			bool dsync = cmfs_cache_props(mode)->dsync;

			mem_image_open(&src, CMFS_CACHE_WRITEBACK, &mem_kinds[kind % MEM_KINDS]);
			mem_image_open(&dst, mode, &mem_kinds[kind / MEM_KINDS]);
			assert_int_equal(mem_image_fill(&src, 'a', 9000, 11, CMFS_VOLATILE), 0);
			assert_int_equal(copy_all(src.image, 11, dst.image, 3, 9000), 9000);
			assert_true(mem_image_holds(&dst, MEM_NOW, 'a', 9000, 3));
			assert_int_equal(mem_store_is_durable(dst.store), dsync);
			assert_int_equal(mem_image_flushes(&src), 0);
			mem_image_finish(&src);
			mem_image_finish(&dst);
		}
	}
}

static void test_copy_when_the_backend_can_does_not_move_bytes_through_us(void **state)
{
	struct mem_image m;
	size_t got;

	mem_image_open(&m, CMFS_CACHE_WRITEBACK, &mem_kinds[MEM_KINDS - 1]);
	assert_int_equal(mem_image_fill(&m, 'a', 9000, 0, CMFS_VOLATILE), 0);
	mem_disk_clear_log(m.disk);
	assert_int_equal(cmfs_image_copy(m.image, 0, m.image, 10000, 9000, &got), 0);
	assert_true(got > 0);
	assert_int_equal(mem_disk_count(m.disk, MEM_COPY), 1);
	assert_int_equal(mem_disk_count(m.disk, MEM_READ), 0);
	assert_int_equal(mem_disk_count(m.disk, MEM_WRITE), 0);
	mem_image_finish(&m);
}

static void test_copy_when_the_backend_refuses_is_done_by_hand(void **state)
{
	static const int refusals[] = { -EOPNOTSUPP, -EXDEV, -EINVAL };
	struct mem_image m;
	size_t got;

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		mem_image_open(&m, CMFS_CACHE_WRITEBACK, &mem_kinds[MEM_KINDS - 1]);
		assert_int_equal(mem_image_fill(&m, 'a', 9000, 0, CMFS_VOLATILE), 0);
		mem_disk_fail(m.disk, MEM_COPY, 0, 1, refusals[i]);
		assert_int_equal(cmfs_image_copy(m.image, 0, m.image, 10000, 9000, &got), 0);
		assert_int_equal(got, 9000);
		assert_true(mem_image_holds(&m, MEM_NOW, 'a', 9000, 10000));
		mem_image_finish(&m);
	}
}

static void test_copy_when_the_backend_fails_fails(void **state)
{
	struct mem_image m;
	size_t got;

	mem_image_open(&m, CMFS_CACHE_WRITEBACK, &mem_kinds[MEM_KINDS - 1]);
	assert_int_equal(mem_image_fill(&m, 'a', 9000, 0, CMFS_VOLATILE), 0);
	mem_disk_fail(m.disk, MEM_COPY, 0, 1, -EIO);
	assert_int_equal(cmfs_image_copy(m.image, 0, m.image, 10000, 9000, &got), -EIO);
	mem_image_finish(&m);
}

static void test_copy_at_the_end_of_the_source_is_short(void **state)
{
	struct mem_image src, dst;
	size_t got;

	for (size_t kind = 0; kind < MEM_KINDS; kind++) {
		mem_image_open(&src, CMFS_CACHE_NONE, &mem_kinds[kind]);
		mem_image_open(&dst, CMFS_CACHE_NONE, &mem_kinds[kind]);
		assert_int_equal(mem_image_fill(&src, 'a', 1000, 0, CMFS_VOLATILE), 0);
		assert_int_equal(cmfs_image_copy(src.image, 900, dst.image, 2000, 1000, &got), 0);
		assert_int_equal(got, 100);
		assert_int_equal(mem_store_size(dst.store, MEM_NOW), 2100);
		assert_int_equal(cmfs_image_copy(src.image, 1000, dst.image, 5000, 10, &got), 0);
		assert_int_equal(got, 0);
		assert_int_equal(cmfs_image_copy(src.image, 99999, dst.image, 5000, 10, &got), 0);
		assert_int_equal(got, 0);
		assert_int_equal(mem_store_size(dst.store, MEM_NOW), 2100);
		mem_image_finish(&src);
		mem_image_finish(&dst);
	}
}

static void test_copy_to_behind_the_end_of_the_same_image_stops_at_that_end(void **state)
{
	struct mem_image m;
	size_t got;

	for (size_t kind = 0; kind < MEM_KINDS; kind++) {
		mem_image_open(&m, CMFS_CACHE_NONE, &mem_kinds[kind]);
		assert_int_equal(mem_image_fill(&m, 'a', 1000, 0, CMFS_VOLATILE), 0);
		assert_int_equal(cmfs_image_copy(m.image, 900, m.image, 2000, 1000, &got), 0);
		assert_int_equal(got, 100);
		assert_int_equal(mem_store_size(m.store, MEM_NOW), 2100);
		mem_image_finish(&m);
	}
}

static void test_copy_of_overlapping_ranges_is_refused(void **state)
{
	/* clang-format off */
	static const struct {
		uint64_t src, dst, len;
		int result;
	} cases[] = {
		{ 0,    0,    100,  -EINVAL }, { 0,   99,  100, -EINVAL }, { 99,  0,   100, -EINVAL },
		{ 0,    50,   1000, -EINVAL }, { 50,  0,   51,  -EINVAL }, { 0,   100, 100, 0 },
		{ 100,  0,    100,  0 },       { 100, 300, 100, 0 },
	};
	/* clang-format on */
	struct mem_image m, other;
	size_t got;

	mem_image_open(&m, CMFS_CACHE_NONE, NULL);
	mem_image_open(&other, CMFS_CACHE_NONE, NULL);
	assert_int_equal(mem_image_fill(&m, 'a', 2000, 0, CMFS_VOLATILE), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		got = 99;
		assert_int_equal(cmfs_image_copy(m.image, cases[i].src, m.image, cases[i].dst,
						 cases[i].len, &got),
				 cases[i].result);
		assert_int_equal(got, cases[i].result < 0 ? 0 : cases[i].len);
		/* Two images do not overlap. */
		assert_int_equal(cmfs_image_copy(m.image, cases[i].src, other.image, cases[i].dst,
						 cases[i].len, &got),
				 0);
	}
	mem_image_finish(&m);
	mem_image_finish(&other);
}

/* A big image of which each byte tells where it was. */
static char *fill_big(struct mem_image *m)
{
	char *bytes = malloc(BIG);
	size_t done;

	assert_non_null(bytes);
	for (size_t i = 0; i < BIG; i++)
		bytes[i] = (char)(i / 251 + i);
	assert_int_equal(cmfs_image_write(m->image, bytes, BIG, 0, CMFS_VOLATILE, &done), 0);
	return bytes;
}

static const struct mem_config big_kind = { .direct = { 512, 512, 4096 },
					    .fua = CMFS_FUA_NATIVE,
					    .max_size = 4 * BIG };

static void test_copy_by_hand_of_many_chunks_is_exact(void **state)
{
	struct mem_image src, dst;
	char *bytes;
	size_t got;

	mem_image_open(&src, CMFS_CACHE_NONE, &big_kind);
	mem_image_open(&dst, CMFS_CACHE_NONE, &big_kind);
	bytes = fill_big(&src);
	assert_int_equal(cmfs_image_copy(src.image, 7, dst.image, 1001, BIG, &got), 0);
	assert_int_equal(got, BIG - 7);
	assert_int_equal(mem_store_size(dst.store, MEM_NOW), 1001 + BIG - 7);
	assert_true(mem_store_holds(dst.store, MEM_NOW, 1001, bytes + 7, BIG - 7));
	free(bytes);
	mem_image_finish(&src);
	mem_image_finish(&dst);
}

static void test_copy_when_a_later_chunk_fails_tells_what_was_done(void **state)
{
	static const enum mem_op ops[] = { MEM_READ, MEM_WRITE };
	struct mem_image src, dst;
	char *bytes;
	size_t got;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		mem_image_open(&src, CMFS_CACHE_NONE, &big_kind);
		mem_image_open(&dst, CMFS_CACHE_NONE, &big_kind);
		bytes = fill_big(&src);
		mem_disk_fail(i == 0 ? src.disk : dst.disk, ops[i], 1, 1, -EIO);
		assert_int_equal(cmfs_image_copy(src.image, 0, dst.image, 0, BIG, &got), 0);
		assert_int_equal(got, 1024 * 1024);
		assert_true(mem_store_holds(dst.store, MEM_NOW, 0, bytes, got));

		mem_disk_fail(i == 0 ? src.disk : dst.disk, ops[i], 0, 1, -EIO);
		assert_int_equal(cmfs_image_copy(src.image, 0, dst.image, 0, BIG, &got), -EIO);
		assert_int_equal(got, 0);
		free(bytes);
		mem_image_finish(&src);
		mem_image_finish(&dst);
	}
}

/* ---- many at once ---- */

struct copier {
	struct thread thread;
	struct cmfs_image *src, *dst;
	uint64_t stream;
};

#define ROUNDS 1500

static void copy_often(void *arg)
{
	struct copier *c = arg;
	struct rnd rnd;
	size_t got;

	rnd_init(&rnd, c->stream);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t src_off = rnd_below(&rnd, 4000), dst_off = 8192 + rnd_below(&rnd, 4000);

		THREAD_CHECK(cmfs_image_copy(c->src, src_off, c->dst, dst_off,
					     1 + rnd_below(&rnd, 3000), &got) == 0);
		THREAD_CHECK(got > 0);
	}
}

static void switch_often(void *arg)
{
	struct copier *c = arg;
	struct rnd rnd;

	rnd_init(&rnd, c->stream);
	for (int i = 0; i < ROUNDS; i++)
		THREAD_CHECK(cmfs_image_set_cache(
				     c->src,
				     (enum cmfs_cache_mode)rnd_below(&rnd, CMFS_CACHE_MODES),
				     NULL) == 0);
}

static void test_copies_in_both_directions_under_switches_do_not_deadlock(void **state)
{
	struct mem_image a, b;

	for (size_t kind = 0; kind < MEM_KINDS; kind++) {
		mem_image_open(&a, CMFS_CACHE_WRITEBACK, &mem_kinds[kind]);
		mem_image_open(&b, CMFS_CACHE_NONE, &mem_kinds[kind]);
		assert_int_equal(mem_image_fill(&a, 'a', 8192, 0, CMFS_VOLATILE), 0);
		assert_int_equal(mem_image_fill(&b, 'a', 8192, 0, CMFS_VOLATILE), 0);

		struct copier t[] = {
			{ .src = a.image, .dst = b.image },
			{ .src = b.image, .dst = a.image },
			{ .src = a.image, .dst = a.image },
			{ .src = a.image },
			{ .src = b.image },
		};

		for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
			t[i].stream = i;
			thread_start(&t[i].thread, t[i].dst ? copy_often : switch_often, &t[i]);
		}
		for (size_t i = 0; i < ARRAY_SIZE(t); i++)
			thread_join(&t[i].thread);
		assert_true(mem_image_holds(&a, MEM_NOW, 'a', 8192, 0));
		assert_true(mem_image_holds(&b, MEM_NOW, 'a', 8192, 0));
		mem_image_finish(&a);
		mem_image_finish(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy_inside_an_image_moves_the_bytes),
		cmocka_unit_test(test_copy_between_images_keeps_the_destinations_promise),
		cmocka_unit_test(test_copy_when_the_backend_can_does_not_move_bytes_through_us),
		cmocka_unit_test(test_copy_when_the_backend_refuses_is_done_by_hand),
		cmocka_unit_test(test_copy_when_the_backend_fails_fails),
		cmocka_unit_test(test_copy_at_the_end_of_the_source_is_short),
		cmocka_unit_test(test_copy_to_behind_the_end_of_the_same_image_stops_at_that_end),
		cmocka_unit_test(test_copy_of_overlapping_ranges_is_refused),
		cmocka_unit_test(test_copy_by_hand_of_many_chunks_is_exact),
		cmocka_unit_test(test_copy_when_a_later_chunk_fails_tells_what_was_done),
		cmocka_unit_test(test_copies_in_both_directions_under_switches_do_not_deadlock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
