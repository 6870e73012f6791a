// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The overlay: random requests and commits, good and failing ones, against an array;
 * and the single things that those do not show.
 */
#include "harness.h"

#include "overlay_util.h"

#include <errno.h>
#include <string.h>

#define MAX 65536 /* no content ends beyond it */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define OPS 8000
#else
#define OPS 60000
#endif

struct content {
	uint64_t size;
	uint8_t bytes[MAX]; /* zeroes beyond the size */
};

struct walk {
	struct overlay_disk d;
	struct rnd rnd;
	struct content now;
	struct content image; /* as it was opened, or committed last */
	bool half_written;    /* by a commit that failed */
	unsigned int commits, failures;
	uint8_t buf[MAX] __attribute__((aligned(4096)));
};

static struct walk w;

static bool one_in(uint64_t n)
{
	return rnd_below(&w.rnd, n) == 0;
}

/* Anywhere, but most often where it hurts: near the end, at borders of blocks. */
static uint64_t random_off(void)
{
	uint64_t off = rnd_below(&w.rnd, MAX - 64);

	switch (rnd_below(&w.rnd, 4)) {
	case 0:
		return off;
	case 1:
		off = w.now.size + rnd_below(&w.rnd, 5000);
		return off > 2500 && off - 2500 < MAX ? off - 2500 : 0;
	case 2:
		return off - off % 4096;
	default:
		off = off - off % 4096 + rnd_below(&w.rnd, 3);
		return off > 0 ? off - 1 : 0;
	}
}

static uint64_t random_len(uint64_t off)
{
	static const uint64_t most[] = { 16, 5000, 5000, 20000 };
	uint64_t len = 1 + rnd_below(&w.rnd, most[rnd_below(&w.rnd, ARRAY_SIZE(most))]);

	if (one_in(2))
		len += 4096 - (off + len) % 4096;
	return off + len < MAX ? len : MAX - off;
}

static void do_write(void)
{
	uint64_t off = random_off(), len = random_len(off);

	rnd_fill(&w.rnd, w.buf, len);
	assert_int_equal(cmfs_backend_write(w.d.be, w.buf, len, off, CMFS_VOLATILE), 0);
	memcpy(w.now.bytes + off, w.buf, len);
	if (off + len > w.now.size)
		w.now.size = off + len;
}

static void read_and_compare(uint64_t off, uint64_t len)
{
	uint64_t there = off < w.now.size ? w.now.size - off : 0;
	size_t got;

	assert_int_equal(cmfs_backend_read(w.d.be, w.buf, len, off, &got), 0);
	assert_int_equal(got, there < len ? there : len);
	assert_memory_equal(w.buf, w.now.bytes + off, got);
}

static void do_read(void)
{
	uint64_t off = random_off();

	read_and_compare(off, random_len(off));
}

static void do_truncate(void)
{
	uint64_t size = random_off();

	assert_int_equal(cmfs_backend_truncate(w.d.be, size), 0);
	if (size < w.now.size)
		memset(w.now.bytes + size, 0, w.now.size - size);
	w.now.size = size;
}

static void do_allocate(void)
{
	uint64_t off = random_off(), end = off + random_len(off), stop = end;
	enum cmfs_alloc what = (enum cmfs_alloc)rnd_below(&w.rnd, 3);
	bool keep_size = one_in(2) || what == CMFS_ALLOC_PUNCH;

	assert_int_equal(cmfs_backend_allocate(w.d.be, what, keep_size, off, end - off), 0);
	if (stop > w.now.size)
		stop = w.now.size;
	if (what != CMFS_ALLOC_ALLOCATE && off < stop)
		memset(w.now.bytes + off, 0, stop - off);
	if (!keep_size && end > w.now.size)
		w.now.size = end;
}

/* What a seek finds is right by the content: data may be zeroes, a hole must be. */
static void do_seek(void)
{
	uint64_t off = random_off(), found;
	enum cmfs_seek whence = one_in(2) ? CMFS_SEEK_DATA : CMFS_SEEK_HOLE;
	int r = cmfs_backend_seek(w.d.be, whence, off, &found);

	if (off >= w.now.size) {
		assert_int_equal(r, -ENXIO);
		return;
	}
	if (whence == CMFS_SEEK_HOLE) {
		assert_int_equal(r, 0);
		assert_true(found <= w.now.size);
		return;
	}
	for (uint64_t i = off; i < (r == 0 ? found : w.now.size); i++)
		assert_int_equal(w.now.bytes[i], 0);
}

/* As a switch does it. */
static void do_reopen(void)
{
	struct cmfs_backend *be;

	assert_int_equal(cmfs_backend_reopen(w.d.be, &w.d.be->how, &be, NULL), 0);
	cmfs_backend_close(w.d.be);
	w.d.be = be;
}

static void check_status(void)
{
	struct cmfs_overlay_status s = cmfs_overlay_status(w.d.overlay);

	assert_false(s.committing);
	if (s.uncommitted == 0 && !s.resized)
		assert_memory_equal(&w.now, &w.image, sizeof(w.now));
}

static void do_commit(void)
{
	assert_int_equal(cmfs_overlay_commit(w.d.overlay, NULL), 0);
	overlay_disk_expect_image(&w.d, w.now.bytes, w.now.size);
	assert_int_equal(cmfs_overlay_status(w.d.overlay).uncommitted, 0);
	assert_false(cmfs_overlay_status(w.d.overlay).resized);
	assert_int_equal(mem_store_size(mem_disk_store(w.d.temp), MEM_NOW), 0);
	w.image = w.now;
	w.half_written = false;
	w.commits++;
}

/* Nothing that is shown changes, and the next one comes right. */
static void do_failing_commit(void)
{
	static const enum mem_op ops[] = { MEM_REOPEN, MEM_WRITE, MEM_WRITE_EXACT, MEM_TRUNCATE,
					   MEM_ALLOCATE };
	enum mem_op op = ops[rnd_below(&w.rnd, ARRAY_SIZE(ops))];
	struct mem_disk *disk = w.d.image;
	int r;

	if (one_in(8)) {
		op = MEM_READ;
		disk = w.d.temp;
	}
	mem_disk_fail(disk, op, (unsigned int)rnd_below(&w.rnd, 4), 1, -ENOSPC);
	r = cmfs_overlay_commit(w.d.overlay, NULL);
	mem_disk_fail(disk, op, 0, 0, 0);
	if (r == 0) {
		w.image = w.now;
		w.half_written = false;
		return;
	}
	assert_int_equal(r, -ENOSPC);
	w.failures++;
	w.half_written |= op != MEM_REOPEN;
	read_and_compare(0, MAX);
	check_status();
}

static void do_something(void)
{
	uint64_t kind = rnd_below(&w.rnd, 1000), size;

	if (kind < 450)
		do_write();
	else if (kind < 750)
		do_read();
	else if (kind < 800)
		do_truncate();
	else if (kind < 920)
		do_allocate();
	else if (kind < 970)
		do_seek();
	else if (kind < 980)
		do_reopen();
	else if (kind < 990)
		do_commit();
	else
		do_failing_commit();
	assert_int_equal(cmfs_backend_size(w.d.be, &size), 0);
	assert_int_equal(size, w.now.size);
}

static void walk(const struct mem_config *image, const struct mem_config *temp, bool direct,
		 uint64_t stream)
{
	memset(&w, 0, sizeof(w));
	rnd_init(&w.rnd, stream);
	overlay_disk_open(&w.d, image, temp, direct, 'i');
	w.image.size = image->size;
	memset(w.image.bytes, 'i', image->size);
	w.now = w.image;
	for (int op = 0; op < OPS; op++) {
		do_something();
		if (op % 16 == 0) {
			read_and_compare(0, MAX);
			check_status();
		}
		if (op % 16 == 0 && !w.half_written)
			overlay_disk_expect_image(&w.d, w.image.bytes, w.image.size);
	}
	assert_true(w.commits > 10 && w.failures > 10);
	overlay_disk_close(&w.d);
}

/* One test for each kind of disk, so that a failure names it. */
#define RANDOM_TEST(name, stream, direct, image, temp)                                             \
	static void test_random_operations_when_##name##_match_the_model(void **state)             \
	{                                                                                          \
		const struct mem_config i = image, t = temp;                                       \
                                                                                                   \
		walk(&i, &t, direct, stream);                                                      \
	}
#define CONFIG(...)                                                                                \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

RANDOM_TEST(both_are_cached, 1, false, CONFIG(.size = 30000), CONFIG(.fua = CMFS_FUA_NATIVE))
RANDOM_TEST(the_image_is_empty, 2, false, CONFIG(.fua = CMFS_FUA_NATIVE), CONFIG(.size = 0))
RANDOM_TEST(both_are_direct, 3, true, CONFIG(.direct = { 512, 512, 4096 }, .size = 50001),
	    CONFIG(.direct = { 512, 512, 4096 }))
RANDOM_TEST(blocks_are_large, 4, true, CONFIG(.direct = { 4096, 512, 4096 }, .size = 40000),
	    CONFIG(.direct = { 8192, 4096, 16384 }))

/* ---- single things ---- */

static void fill(struct cmfs_backend *be, int value, uint64_t len, uint64_t off)
{
	static char buf[MAX];

	memset(buf, value, len);
	assert_int_equal(cmfs_backend_write(be, buf, len, off, CMFS_VOLATILE), 0);
}

static uint64_t seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off)
{
	uint64_t found;

	assert_int_equal(cmfs_backend_seek(be, whence, off, &found), 0);
	return found;
}

static void test_holes_when_blocks_are_punched_or_written_begin_and_end_there(void **state)
{
	const struct mem_config image = { .size = 65536 }, temp = { 0 };
	struct overlay_disk d;

	overlay_disk_open(&d, &image, &temp, false, 'i');
	assert_int_equal(cmfs_backend_allocate(d.be, CMFS_ALLOC_PUNCH, true, 8192, 16384), 0);
	fill(d.be, 'x', 10, 16384);
	assert_int_equal(seek(d.be, CMFS_SEEK_HOLE, 0), 8192);
	assert_int_equal(seek(d.be, CMFS_SEEK_DATA, 8192), 16384);
	assert_int_equal(seek(d.be, CMFS_SEEK_HOLE, 16384), 16384 + 4096);
	assert_int_equal(seek(d.be, CMFS_SEEK_DATA, 20480), 24576);
	assert_int_equal(seek(d.be, CMFS_SEEK_HOLE, 24576), 65536);

	/* What was cut off and grew again is a hole, though the image has data there. */
	assert_int_equal(cmfs_backend_truncate(d.be, 30000), 0);
	assert_int_equal(cmfs_backend_truncate(d.be, 60000), 0);
	assert_int_equal(seek(d.be, CMFS_SEEK_HOLE, 24576), 30000);
	overlay_disk_close(&d);
}

static void test_a_whole_block_when_written_is_not_read_before(void **state)
{
	const struct mem_config image = { .size = 65536 }, temp = { 0 };
	struct overlay_disk d;

	overlay_disk_open(&d, &image, &temp, false, 'i');
	fill(d.be, 'x', 8192, 4096);
	assert_int_equal(mem_disk_count(d.image, MEM_READ), 0);
	fill(d.be, 'x', 1, 20000); /* control */
	assert_int_equal(mem_disk_count(d.image, MEM_READ), 1);
	fill(d.be, 'x', 1, 20001); /* once */
	assert_int_equal(mem_disk_count(d.image, MEM_READ), 1);
	assert_int_equal(mem_disk_count(d.image, MEM_WRITE), 0);
	overlay_disk_close(&d);
}

/* P2 cannot be kept, but it is not claimed either: what was lost is told, for good. */
static void test_a_loss_when_the_temporary_file_has_one_fails_flushes_and_commits(void **state)
{
	const struct mem_config image = { .size = 65536 }, temp = { 0 };
	struct overlay_disk d;

	overlay_disk_open(&d, &image, &temp, false, 'i');
	fill(d.be, 'x', 8192, 4096);
	assert_int_equal(cmfs_backend_flush(d.be, true), 0);
	mem_disk_lose(d.temp, -EIO);
	assert_int_equal(cmfs_backend_flush(d.be, true), -EIO);
	assert_int_equal(cmfs_backend_flush(d.be, true), -EIO);
	assert_int_equal(cmfs_overlay_commit(d.overlay, NULL), -EIO);
	assert_int_equal(mem_disk_count(d.image, MEM_REOPEN), 0);
	overlay_disk_close(&d);
}

/* The loss comes when the image has been written already. */
static void lose_at_flush(void *arg, const struct mem_event *event, enum mem_stage stage)
{
	struct overlay_disk *d = arg;

	if (event->op == MEM_FLUSH && stage == MEM_AFTER)
		mem_disk_lose(d->temp, -EIO);
}

static void test_a_commit_when_the_overlay_is_lost_meanwhile_fails(void **state)
{
	struct overlay_disk d;
	const struct mem_config image = { .size = 65536, .hook = lose_at_flush, .hook_arg = &d };
	const struct mem_config temp = { 0 };

	overlay_disk_open(&d, &image, &temp, false, 'i');
	fill(d.be, 'x', 8192, 4096);
	assert_int_equal(cmfs_overlay_commit(d.overlay, NULL), -EIO);
	assert_int_equal(cmfs_overlay_status(d.overlay).uncommitted, 8192);
	overlay_disk_close(&d);
}

/* What a failed flush has lost, nobody knows: all is written again. */
static void test_a_commit_when_a_flush_failed_before_writes_all_again(void **state)
{
	const struct mem_config image = { .size = 65536 }, temp = { 0 };
	struct overlay_disk d;

	for (unsigned int skip = 0; skip < 2; skip++) { /* the flush amidst, and the last one */
		overlay_disk_open(&d, &image, &temp, false, 'i');
		fill(d.be, 'x', 8192, 4096);
		mem_disk_fail(d.image, MEM_FLUSH, skip, 1, -EIO);
		assert_int_equal(cmfs_overlay_commit(d.overlay, NULL), -EIO);
		assert_int_equal(cmfs_overlay_status(d.overlay).uncommitted, 8192);
		assert_int_equal(mem_disk_count(d.image, MEM_WRITE), 1);
		assert_int_equal(cmfs_overlay_commit(d.overlay, NULL), 0);
		assert_int_equal(mem_disk_count(d.image, MEM_WRITE), 2);
		assert_int_equal(mem_disk_count(d.image, MEM_FLUSH), skip + 3);
		overlay_disk_close(&d);
	}
}

/* Half of such a write is done, and would be seen when the content grows. */
static void test_a_growing_write_when_it_fails_leaves_zeroes_behind_the_end(void **state)
{
	const struct mem_config image = { .size = 100 }, temp = { 0 };
	static const uint64_t offs[] = { 0, 50, 100 };
	static char junk[16384], got[4096];
	struct overlay_disk d;
	size_t n;

	memset(junk, 'j', sizeof(junk));
	for (size_t i = 0; i < ARRAY_SIZE(offs); i++) {
		overlay_disk_open(&d, &image, &temp, false, 'i');
		fill(d.be, 'x', 1, 0);
		mem_disk_fail(d.temp, MEM_WRITE, 0, 1, -ENOSPC);
		assert_int_equal(cmfs_backend_write(d.be, junk, sizeof(junk) - offs[i], offs[i],
						    CMFS_VOLATILE),
				 -ENOSPC);
		assert_int_equal(cmfs_backend_truncate(d.be, 4096), 0);
		assert_int_equal(cmfs_backend_read(d.be, got, sizeof(got), 0, &n), 0);
		assert_int_equal(n, 4096);
		for (size_t at = 100; at < sizeof(got); at++)
			assert_int_equal(got[at], 0);
		assert_int_equal(cmfs_backend_flush(d.be, true), 0);
		overlay_disk_close(&d);
	}
}

/* A discard of all of a large disk is a few steps, not one for each block. */
static void test_a_huge_range_when_punched_costs_nothing(void **state)
{
	const struct mem_config image = { .size = 65536 }, temp = { 0 };
	struct overlay_disk d;

	overlay_disk_open(&d, &image, &temp, false, 'i');
	assert_int_equal(cmfs_backend_truncate(d.be, 1ULL << 60), 0);
	assert_int_equal(cmfs_backend_allocate(d.be, CMFS_ALLOC_PUNCH, true, 0, 1ULL << 60), 0);
	assert_int_equal(cmfs_overlay_status(d.overlay).uncommitted, 1ULL << 60);
	assert_int_equal(cmfs_backend_truncate(d.be, 4096), 0);
	assert_int_equal(cmfs_overlay_status(d.overlay).uncommitted, 4096);
	overlay_disk_close(&d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(test_random_operations_when_##name##_match_the_model)
	const struct CMUnitTest tests[] = {
		TEST(both_are_cached),
		TEST(the_image_is_empty),
		TEST(both_are_direct),
		TEST(blocks_are_large),
		cmocka_unit_test(test_holes_when_blocks_are_punched_or_written_begin_and_end_there),
		cmocka_unit_test(test_a_whole_block_when_written_is_not_read_before),
		cmocka_unit_test(
			test_a_loss_when_the_temporary_file_has_one_fails_flushes_and_commits),
		cmocka_unit_test(test_a_commit_when_the_overlay_is_lost_meanwhile_fails),
		cmocka_unit_test(test_a_commit_when_a_flush_failed_before_writes_all_again),
		cmocka_unit_test(test_a_growing_write_when_it_fails_leaves_zeroes_behind_the_end),
		cmocka_unit_test(test_a_huge_range_when_punched_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
