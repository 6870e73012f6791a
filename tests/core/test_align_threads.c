// SPDX-License-Identifier: GPL-2.0-or-later
/* Many threads change neighbouring bytes at once (P9): nobody's get lost. */
#include "harness.h"

#include "align_util.h"

#include <sched.h>
#include <string.h>

/* Give others a chance wherever a read-modify-write can be hit. */
static void yield_hook(void *arg, const struct mem_event *event, enum mem_stage stage)
{
	static atomic_uint calls;

	if (stage != MEM_INSIDE && !(stage == MEM_AFTER && event->op == MEM_READ))
		return;
	if (atomic_fetch_add(&calls, 1) % 8 == 0)
		usleep(1);
	else
		sched_yield();
}

static void open_disk(struct align_disk *d, uint64_t size)
{
	align_disk_open(d, &(struct mem_config){ .direct = { 512, 512, 4096 },
						 .fua = CMFS_FUA_NATIVE,
						 .size = size,
						 .hook = yield_hook });
}

/*
 * The content in three regions: pieces of odd length, that is neighbours in the
 * same blocks; whole blocks; and the end, which moves and is cut anywhere, but
 * shares its exact_block with the last of the whole blocks.
 */
#define PIECE	61
#define PIECES	134
#define BLOCKS	8192 /* the blocks' offset */
#define BLOCK	512
#define NBLOCKS 11
#define END	(BLOCKS + BLOCK * NBLOCKS + 100)
#define END_MAX 3000
#define ROUNDS	2000

/* A thread and the places that are its own: first, first + step ... */
struct writer {
	struct thread thread;
	struct align_disk *d;
	uint64_t base;
	size_t len, first, step, count;
	struct rnd rnd;
};

static void check_content(struct writer *w, const void *expected, size_t len, uint64_t off)
{
	char buf[4096];
	size_t got;

	THREAD_CHECK(cmfs_align_read(w->d->be, buf, len, off, &got) == 0);
	THREAD_CHECK(got == len && memcmp(buf, expected, len) == 0);
}

static void check_place(struct writer *w, size_t place, uint8_t value)
{
	char expected[BLOCK];

	memset(expected, value, w->len);
	check_content(w, expected, w->len, w->base + place * w->len);
}

static void change_place(struct writer *w, size_t place, uint8_t value)
{
	uint64_t off = w->base + place * w->len;
	char buf[BLOCK] __attribute__((aligned(BLOCK)));
	int r;

	memset(buf, value, w->len);
	if (value == 0)
		r = cmfs_align_allocate(w->d->be, &w->d->locks, CMFS_ALLOC_ZERO, true, off, w->len);
	else
		r = align_disk_write(w->d, buf, w->len, off);
	THREAD_CHECK(r == 0);
}

/* Change one's own places at random; each must stay as it was left. */
static void change_places(void *arg)
{
	struct writer *w = arg;
	const size_t mine = w->count / w->step;
	uint8_t left[PIECES] = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		size_t place = w->first + rnd_below(&w->rnd, mine) * w->step;

		check_place(w, place, left[place]);
		left[place] = rnd_below(&w->rnd, 4) == 0 ? 0 : (uint8_t)rnd_next(&w->rnd);
		change_place(w, place, left[place]);
		check_place(w, place, left[place]);
	}
	for (size_t i = 0; i < mine; i++)
		check_place(w, w->first + i * w->step, left[w->first + i * w->step]);
}

/* Move the end by truncates and writes; what is beyond END is this thread's own. */
static void move_end(void *arg)
{
	static uint8_t content[END_MAX], buf[END_MAX];
	struct writer *w = arg;
	uint64_t size = 0, seen;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t off = rnd_below(&w->rnd, END_MAX - 1), len = 0, end = off;

		if (rnd_below(&w->rnd, 2) == 0) {
			len = 1 + rnd_below(&w->rnd, END_MAX - off);
			end = off + len > size ? off + len : size;
			rnd_fill(&w->rnd, buf, len);
			THREAD_CHECK(align_disk_write(w->d, buf, len, END + off) == 0);
		} else {
			THREAD_CHECK(align_disk_truncate(w->d, END + off) == 0);
		}
		if (end > size)
			memset(content + size, 0, end - size);
		memcpy(content + off, buf, len);
		size = end;
		THREAD_CHECK(cmfs_backend_size(w->d->be, &seen) == 0 && seen == END + size);
		if (size > 0)
			check_content(w, content, size, END);
	}
}

static void test_neighbours_written_at_the_same_time_keep_their_bytes(void **state)
{
	struct writer writers[] = {
		{ .len = PIECE, .first = 0, .step = 3, .count = PIECES },
		{ .len = PIECE, .first = 1, .step = 3, .count = PIECES },
		{ .len = PIECE, .first = 2, .step = 3, .count = PIECES },
		{ .base = BLOCKS, .len = BLOCK, .first = 0, .step = 2, .count = NBLOCKS + 1 },
		{ .base = BLOCKS, .len = BLOCK, .first = 1, .step = 2, .count = NBLOCKS },
		{ .base = END },
	};
	const size_t last = ARRAY_SIZE(writers) - 1;
	struct align_disk d;

	open_disk(&d, END);
	for (size_t i = 0; i <= last; i++) {
		writers[i].d = &d;
		rnd_init(&writers[i].rnd, i);
		thread_start(&writers[i].thread, i == last ? move_end : change_places, &writers[i]);
	}
	for (size_t i = 0; i <= last; i++)
		thread_join(&writers[i].thread);
	align_disk_close(&d);
}

/* Each thread its own pieces, from an empty image on: all of them beyond the end. */
static void write_pieces(void *arg)
{
	struct writer *w = arg;

	for (size_t place = w->first; place < w->count; place += w->step)
		change_place(w, place, (uint8_t)('a' + w->first));
}

static void test_neighbours_growing_the_content_together_lose_nothing(void **state)
{
	struct writer writers[4];
	struct align_disk d;

	open_disk(&d, 0);
	for (int round = 0; round < 50; round++) {
		assert_int_equal(align_disk_truncate(&d, 0), 0);
		for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
			writers[i] = (struct writer){
				.d = &d, .len = PIECE, .first = i, .step = 4, .count = 64
			};
			thread_start(&writers[i].thread, write_pieces, &writers[i]);
		}
		for (size_t i = 0; i < ARRAY_SIZE(writers); i++)
			thread_join(&writers[i].thread);
		assert_int_equal(mem_store_size(d.store, MEM_NOW), 64 * PIECE);
		for (size_t place = 0; place < 64; place++) {
			char expected[PIECE];

			memset(expected, 'a' + (int)(place % 4), PIECE);
			assert_true(
				mem_store_holds(d.store, MEM_NOW, place * PIECE, expected, PIECE));
		}
	}
	align_disk_close(&d);
}

/* ---- the size ---- */

#define GROWTH_MAX (1 << 20)

struct growth {
	struct align_disk d;
	_Atomic uint64_t done, target; /* the end: acknowledged, and at most on its way */
	atomic_bool stop;
	atomic_bool is_end[GROWTH_MAX]; /* of a write, begun or done */
};

/* What may be seen: an end that was asked for, or a step of whole exact_blocks to it. */
static bool is_size(struct growth *g, uint64_t size)
{
	return atomic_load(&g->is_end[size]) || size % g->d.be->geo.exact_block == 0;
}

/* What a stat, a read and a power cut would show of the end while it moves. */
static void observe_size(void *arg)
{
	struct growth *g = arg;
	char buf[2048];
	size_t got;

	while (!atomic_load(&g->stop)) {
		uint64_t low = atomic_load(&g->done), size, durable;

		THREAD_CHECK(cmfs_backend_size(g->d.be, &size) == 0);
		durable = mem_store_size(g->d.store, MEM_DURABLE);
		THREAD_CHECK(cmfs_align_read(g->d.be, buf, sizeof(buf), low, &got) == 0);
		THREAD_CHECK(low <= size && size <= atomic_load(&g->target));
		THREAD_CHECK(low <= durable && durable <= atomic_load(&g->target));
		THREAD_CHECK(low + got <= atomic_load(&g->target));
		THREAD_CHECK(is_size(g, size) && is_size(g, durable));
	}
}

static void overwrite(void *arg)
{
	static const char zeroes[1024] __attribute__((aligned(512)));
	struct growth *g = arg;
	struct rnd rnd;

	rnd_init(&rnd, 10);
	while (!atomic_load(&g->stop)) {
		uint64_t end = atomic_load(&g->done), len = 1 + rnd_below(&rnd, 1024), off;

		if (end < len)
			continue;
		off = rnd_below(&rnd, 2) == 0 ? end - len : rnd_below(&rnd, end - len + 1);
		THREAD_CHECK(align_disk_write(&g->d, zeroes, len, off) == 0);
	}
}

static void test_size_while_odd_lengths_are_appended_is_never_rounded(void **state)
{
	static struct growth g;
	static const char buf[20000];
	void (*const runs[])(void *) = { observe_size, observe_size, overwrite };
	struct thread threads[ARRAY_SIZE(runs)];
	struct rnd rnd;
	uint64_t end = 0;

	rnd_init(&rnd, 11);
	open_disk(&g.d, 0);
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
		thread_start(&threads[i], runs[i], &g);
	for (int i = 0; i < 1000; i++) {
		uint64_t len = 1 + rnd_below(&rnd, i % 100 == 0 ? 10000 : 400) * 2;

		atomic_store(&g.is_end[end + len], true);
		atomic_store(&g.target, end + len);
		assert_int_equal(cmfs_align_write(g.d.be, &g.d.locks, buf, len, end,
						  CMFS_DURABLE_DATA, false),
				 0);
		end += len;
		atomic_store(&g.done, end);
	}
	atomic_store(&g.stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
		thread_join(&threads[i]);
	align_disk_close(&g.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_neighbours_written_at_the_same_time_keep_their_bytes),
		cmocka_unit_test(test_neighbours_growing_the_content_together_lose_nothing),
		cmocka_unit_test(test_size_while_odd_lengths_are_appended_is_never_rounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
