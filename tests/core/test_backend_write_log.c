// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The layer that keeps the write log, between a memory disk and an image: a replay of
 * the log is the content, at each mark that was set.
 */
#include "cmfs/write_log.h"

#include "../helpers/log_reader.h"
#include "harness.h"
#include "host_file.h"
#include "image_util.h"
#include "mem_hold.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define SIZE	 20000 /* of the content at first: not whole sectors */
#define MAX_SIZE 65536
#define ROOM	 (2 * MAX_SIZE)

static struct mem_disk *disk;
static struct mem_store *store;
static struct cmfs_write_log *the_log;
static struct cmfs_image *image;
static struct mem_hold hold = MEM_HOLD_INITIALIZER;

static void open_image(const struct mem_config *kind, enum cmfs_cache_mode mode)
{
	struct mem_config config = *kind;
	struct cmfs_open_how how = cmfs_image_open_how(mode, false);
	struct cmfs_backend *be;

	config.size = SIZE;
	config.max_size = MAX_SIZE;
	config.hook = mem_hold_hook;
	config.hook_arg = &hold;
	disk = mem_disk_create(&config);
	store = mem_disk_store(disk);
	unlink(host_path("log"));
	assert_int_equal(cmfs_write_log_create(host_path("log"), &the_log, NULL), 0);
	assert_int_equal(
		cmfs_backend_write_log_open(mem_backend_open(disk, &how), the_log, &be, NULL), 0);
	assert_int_equal(cmfs_image_create(be, mode, &image, NULL), 0);
}

static int finish(void)
{
	cmfs_image_close(image);
	mem_disk_destroy(disk);
	return cmfs_write_log_unref(the_log);
}

/* ---- the other side ---- */

/* A replay in memory, of what was SIZE bytes of zeroes. */
struct replay {
	struct log_reader reader;
	int fd;
};

static void replay_open(struct replay *p)
{
	p->fd = memfd_create("replay", MFD_CLOEXEC);
	assert_int_equal(ftruncate(p->fd, SIZE), 0);
	assert_true(log_open(&p->reader, open(host_path("log"), O_RDONLY)));
}

static void replay_close(struct replay *p)
{
	if (p->reader.wrong)
		fail_msg("entry %d: %s", (int)p->reader.next - 1, p->reader.wrong);
	close(p->fd);
	close(p->reader.fd);
}

/* Replay the next entry. */
static bool replay_next(struct replay *p, struct log_record *r, bool discard_zeroes)
{
	return log_next(&p->reader, r) && log_replay(&p->reader, r, p->fd, discard_zeroes);
}

static size_t replay_read(struct replay *p, char *ret, size_t len)
{
	memset(ret, 0, len);
	return (size_t)pread(p->fd, ret, len, 0);
}

/* All of it: is it the content now? */
static void assert_replays_to_the_content(void)
{
	static char got[ROOM], wanted[ROOM];
	struct replay p;
	struct log_record r;
	size_t size = mem_store_size(store, MEM_NOW);

	for (int zeroes = 0; zeroes < 2; zeroes++) {
		replay_open(&p);
		while (replay_next(&p, &r, zeroes))
			;
		memset(wanted, 0, sizeof(wanted));
		mem_store_read(store, MEM_NOW, wanted, size, 0);
		assert_true(replay_read(&p, got, sizeof(got)) >= size);
		assert_memory_equal(got, wanted, sizeof(got)); /* nothing but zeroes behind it */
		replay_close(&p);
	}
}

/* The flags of the entries: "w" write, "F" FUA, "f" flush, "d" discard, "m" mark, "-". */
static const char *kinds(void)
{
	static char text[64];
	struct replay p;
	struct log_record r;
	size_t n = 0;

	replay_open(&p);
	while (replay_next(&p, &r, false) && n < sizeof(text) - 1)
		text[n++] = r.flags & LOG_MARK	    ? 'm'
			    : r.flags & LOG_FLUSH   ? 'f'
			    : r.flags & LOG_FUA	    ? 'F'
			    : r.flags & LOG_DISCARD ? 'd'
			    : r.len		    ? 'w'
						    : '-';
	text[n] = '\0';
	replay_close(&p);
	return text;
}

static int fill(int value, size_t len, uint64_t off, enum cmfs_durability asked)
{
	char buf[8192];
	size_t done;

	memset(buf, value, len);
	return cmfs_image_write(image, buf, len, off, asked, &done);
}

/* ---- what is logged as what ---- */

static void test_each_mode_s_writes_and_flushes_are_logged_as_such(void **state)
{
	static const struct {
		enum cmfs_cache_mode mode;
		const char *native, *emulated;
	} cases[] = {
		/* A write, an fdatasync, a write that is to be durable, a truncation. */
		{ CMFS_CACHE_WRITEBACK, "wfFw", "wfwfw" },
		{ CMFS_CACHE_NONE, "wfFw", "wfwfw" },
		{ CMFS_CACHE_WRITETHROUGH, "FfFwf", "wffwfwf" },
		{ CMFS_CACHE_DIRECTSYNC, "FfFwf", "wffwfwf" },
		{ CMFS_CACHE_UNSAFE, "www", "www" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int kind = 0; kind < MEM_KINDS; kind++) {
			bool native = mem_kinds[kind].fua == CMFS_FUA_NATIVE;
			const char *wanted = native ? cases[i].native : cases[i].emulated;

			open_image(&mem_kinds[kind], cases[i].mode);
			fill('a', 4096, 0, CMFS_VOLATILE);
			cmfs_image_flush(image, true);
			fill('b', 4096, 8192, CMFS_DURABLE_DATA);
			cmfs_image_truncate(image, SIZE + 1000);
			print_message("%s %d: %s\n", cmfs_cache_props(cases[i].mode)->name, kind,
				      kinds());
			assert_string_equal(kinds(), wanted);
			assert_replays_to_the_content();
			finish();
		}
	}
}

static void test_what_is_not_whole_sectors_is_logged_with_its_neighbours(void **state)
{
	open_image(&mem_kinds[0], CMFS_CACHE_WRITEBACK);
	fill('a', 5000, 0, CMFS_VOLATILE);
	fill('b', 100, 500, CMFS_VOLATILE); /* over an edge */
	fill('c', 1, 1023, CMFS_DURABLE_DATA);
	fill('d', 10, SIZE + 5, CMFS_VOLATILE); /* over the end */
	assert_string_equal(kinds(), "wwFw");
	assert_replays_to_the_content();
	finish();
}

static void test_growth_and_what_is_cut_off_are_writes(void **state)
{
	open_image(&mem_kinds[0], CMFS_CACHE_WRITEBACK);
	fill('a', 8000, 3000, CMFS_VOLATILE);
	assert_int_equal(cmfs_image_truncate(image, 30001), 0);
	assert_replays_to_the_content();
	assert_int_equal(cmfs_image_truncate(image, 5000), 0);
	assert_replays_to_the_content();
	assert_int_equal(cmfs_image_truncate(image, 12000), 0);
	assert_replays_to_the_content();
	assert_int_equal(cmfs_image_truncate(image, 0), 0);
	assert_int_equal(cmfs_image_allocate(image, CMFS_ALLOC_ALLOCATE, false, 100, 30000), 0);
	assert_replays_to_the_content();
	finish();
}

static void test_punching_discards_whole_sectors_and_then_zeroes(void **state)
{
	open_image(&mem_kinds[0], CMFS_CACHE_WRITEBACK);
	fill('a', 8000, 0, CMFS_VOLATILE);
	fill('a', 8000, 8000, CMFS_VOLATILE);
	assert_int_equal(cmfs_image_allocate(image, CMFS_ALLOC_PUNCH, true, 1024, 2048), 0);
	assert_string_equal(kinds(), "wwdw");
	assert_replays_to_the_content();
	assert_int_equal(cmfs_image_allocate(image, CMFS_ALLOC_PUNCH, true, 4000, 2000), 0);
	assert_int_equal(cmfs_image_allocate(image, CMFS_ALLOC_PUNCH, true, 7000, 100), 0);
	assert_int_equal(cmfs_image_allocate(image, CMFS_ALLOC_ZERO, true, 9000, 3001), 0);
	assert_int_equal(cmfs_image_allocate(image, CMFS_ALLOC_ZERO, true, 14000, 30000), 0);
	assert_replays_to_the_content();
	assert_int_equal(cmfs_image_allocate(image, CMFS_ALLOC_ZERO, false, 15000, 30000), 0);
	assert_replays_to_the_content();
	finish();
}

static void test_a_copy_is_logged(void **state)
{
	size_t copied;

	open_image(&mem_kinds[2], CMFS_CACHE_WRITEBACK);
	fill('a', 5000, 0, CMFS_VOLATILE);
	assert_int_equal(cmfs_image_copy(image, 100, image, 10000, 4000, &copied), 0);
	assert_int_equal(copied, 4000);
	assert_int_equal(mem_disk_count(disk, MEM_COPY), 0);
	assert_replays_to_the_content();
	finish();
}

/* ---- failures ---- */

static void test_a_failed_change_is_logged_as_what_it_left(void **state)
{
	for (int kind = 0; kind < MEM_KINDS; kind++) {
		open_image(&mem_kinds[kind], CMFS_CACHE_NONE);
		fill('a', 8192, 0, CMFS_VOLATILE);
		mem_disk_fail(disk, MEM_WRITE, 0, 1, -EIO); /* the first half is done */
		assert_int_equal(fill('b', 8192, 0, CMFS_DURABLE_DATA), -EIO);
		assert_replays_to_the_content();
		mem_disk_fail(disk, MEM_ALLOCATE, 0, 1, -ENOSPC);
		assert_int_equal(cmfs_image_allocate(image, CMFS_ALLOC_ZERO, true, 100, 3000),
				 -ENOSPC);
		mem_disk_fail(disk, MEM_TRUNCATE, 0, 1, -EIO);
		assert_int_equal(cmfs_image_truncate(image, 10), -EIO);
		assert_replays_to_the_content();
		assert_int_equal(cmfs_write_log_status(the_log).error, 0);
		assert_null(strchr(kinds(), mem_kinds[kind].fua == CMFS_FUA_NATIVE ? 'F' : '?'));
		finish();
	}
}

static void test_where_nobody_knows_what_it_left_the_log_stops(void **state)
{
	open_image(&mem_kinds[0], CMFS_CACHE_WRITEBACK);
	fill('a', 4096, 0, CMFS_VOLATILE);
	mem_disk_fail(disk, MEM_WRITE, 0, 1, -EIO);
	mem_disk_fail(disk, MEM_READ, 0, 1, -EIO);
	assert_int_equal(fill('b', 4096, 0, CMFS_VOLATILE), -EIO);
	assert_int_equal(cmfs_write_log_status(the_log).error, -EIO);
	/* The image goes on. */
	assert_int_equal(fill('c', 4096, 0, CMFS_VOLATILE), 0);
	assert_int_equal(cmfs_image_flush(image, true), 0);
	assert_string_equal(kinds(), "w");
	assert_int_equal(finish(), -EIO);
}

static void test_a_failed_flush_is_none_in_the_log(void **state)
{
	open_image(&mem_kinds[0], CMFS_CACHE_WRITEBACK);
	fill('a', 4096, 0, CMFS_VOLATILE);
	assert_int_equal(cmfs_image_flush(image, true), 0);
	fill('b', 4096, 0, CMFS_VOLATILE);
	mem_disk_fail(disk, MEM_FLUSH, 0, 1, -EIO);
	assert_int_equal(cmfs_image_flush(image, true), -EIO);
	fill('c', 4096, 0, CMFS_VOLATILE);
	assert_int_equal(cmfs_image_flush(image, true), -EIO);
	assert_string_equal(kinds(), "wfwmw");
	finish();
}

static void test_an_image_goes_on_when_its_log_has_no_room(void **state)
{
	struct rlimit old, limit;

	open_image(&mem_kinds[0], CMFS_CACHE_WRITETHROUGH);
	fill('a', 4096, 0, CMFS_VOLATILE);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){ .rlim_cur = 6000, .rlim_max = old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_equal(fill('b', 4096, 0, CMFS_VOLATILE), 0);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(cmfs_write_log_status(the_log).error, -EFBIG);
	assert_int_equal(fill('c', 4096, 4096, CMFS_VOLATILE), 0);
	assert_int_equal(cmfs_image_flush(image, true), 0);
	assert_true(mem_store_is_durable(store));
	assert_string_equal(kinds(), "F");
	assert_int_equal(finish(), -EFBIG);
}

static void test_far_out_there_is_nothing_to_log(void **state)
{
	open_image(&mem_kinds[0], CMFS_CACHE_WRITEBACK);
	assert_int_equal(fill('a', 10, INT64_MAX - 100, CMFS_VOLATILE), -EFBIG);
	assert_int_equal(fill('a', 10, INT64_MAX - 10, CMFS_VOLATILE), -EFBIG);
	assert_int_equal(cmfs_image_truncate(image, INT64_MAX), -EFBIG);
	assert_int_equal(cmfs_image_allocate(image, CMFS_ALLOC_ZERO, true, INT64_MAX - 10, 10), 0);
	finish();
}

/* ---- order ---- */

static void write_b(void *arg)
{
	THREAD_CHECK(fill('b', 4096, 2048, CMFS_VOLATILE) == 0);
}

static void flush_all(void *arg)
{
	THREAD_CHECK(cmfs_image_flush(image, true) == 0);
}

/* The first is done but not logged: who would overwrite it waits; others do not. */
static void test_overlapping_changes_are_logged_in_the_order_of_the_content(void **state)
{
	struct thread first, second;

	open_image(&mem_kinds[0], CMFS_CACHE_WRITEBACK);
	mem_hold_arm(&hold, MEM_WRITE, MEM_AFTER);
	thread_start(&first, write_b, NULL);
	mem_hold_wait(&hold);
	assert_int_equal(fill('x', 4096, 8192, CMFS_VOLATILE), 0);
	thread_start(&second, write_b, NULL);
	linger();
	assert_int_equal(mem_disk_count(disk, MEM_WRITE), 2);
	mem_hold_release(&hold);
	thread_join(&first);
	thread_join(&second);
	assert_int_equal(mem_disk_count(disk, MEM_WRITE), 3);
	assert_replays_to_the_content();
	finish();
}

/* A flush need not cover what is written while it runs. */
static void test_what_is_written_during_a_flush_comes_behind_it(void **state)
{
	struct thread t;

	open_image(&mem_kinds[0], CMFS_CACHE_WRITEBACK);
	fill('a', 512, 0, CMFS_VOLATILE);
	mem_hold_arm(&hold, MEM_FLUSH, MEM_AFTER);
	thread_start(&t, flush_all, NULL);
	mem_hold_wait(&hold);
	fill('b', 512, 0, CMFS_VOLATILE);
	assert_string_equal(kinds(), "w-w");
	mem_hold_release(&hold);
	thread_join(&t);
	assert_string_equal(kinds(), "wfw");
	finish();
}

#define THREADS 4

static void change_at_random(void *arg)
{
	struct rnd rnd;

	rnd_init(&rnd, (uintptr_t)arg);
	for (int i = 0; i < 500; i++) {
		uint64_t off = rnd_below(&rnd, 8192), len = 1 + rnd_below(&rnd, 3000);
		size_t copied;

		switch (rnd_below(&rnd, 12)) {
		case 0:
			cmfs_image_allocate(image, CMFS_ALLOC_PUNCH, true, off, len);
			break;
		case 1:
			cmfs_image_truncate(image, off + 4000);
			break;
		case 2:
			cmfs_image_copy(image, off, image, off + len, len, &copied);
			break;
		case 3:
			cmfs_image_flush(image, true);
			break;
		case 4:
		case 5:
			fill((int)(i * 7 + (uintptr_t)arg), 512 * (1 + len / 512), off / 512 * 512,
			     CMFS_VOLATILE);
			break;
		default:
			fill((int)(i * 7 + (uintptr_t)arg), len, off, CMFS_VOLATILE);
		}
	}
}

static void test_a_log_of_threads_is_in_the_order_of_the_content(void **state)
{
	struct thread threads[THREADS];

	for (int kind = 0; kind < MEM_KINDS; kind++) {
		open_image(&mem_kinds[kind], CMFS_CACHE_WRITEBACK);
		for (uintptr_t i = 0; i < THREADS; i++)
			thread_start(&threads[i], change_at_random, (void *)i);
		for (int i = 0; i < 20; i++)
			assert_int_equal(cmfs_image_set_cache(image, i % CMFS_CACHE_MODES, NULL),
					 0);
		for (int i = 0; i < THREADS; i++)
			thread_join(&threads[i]);
		assert_replays_to_the_content();
		assert_int_equal(finish(), 0);
	}
}

/* ---- everything, with a look at each state ---- */

#define STEPS 250

static void change_once(struct rnd *rnd, int step)
{
	uint64_t off = rnd_below(rnd, 40000), len = 1 + rnd_below(rnd, 8000);
	enum cmfs_durability asked = rnd_below(rnd, 3);

	switch (rnd_below(rnd, 12)) {
	case 0:
		cmfs_image_truncate(image, off);
		break;
	case 1:
		cmfs_image_allocate(image, CMFS_ALLOC_PUNCH, true, off, len);
		break;
	case 2:
		cmfs_image_allocate(image, CMFS_ALLOC_ZERO, rnd_below(rnd, 2), off, len);
		break;
	case 3:
		cmfs_image_allocate(image, CMFS_ALLOC_ALLOCATE, rnd_below(rnd, 2), off, len);
		break;
	case 4:
		cmfs_image_flush(image, rnd_below(rnd, 2));
		break;
	case 5:
		cmfs_image_set_cache(image, rnd_below(rnd, CMFS_CACHE_MODES), NULL);
		break;
	case 6:
		mem_disk_fail(disk, MEM_WRITE, 0, 1, -ENOSPC);
		fill(step, len, off, CMFS_VOLATILE);
		mem_disk_fail(disk, MEM_WRITE, 0, 0, 0);
		break;
	case 7:
		fill(step, 512 * (1 + len / 600), off / 512 * 512, asked);
		break;
	default:
		fill(step, len, off, asked);
	}
}

static void test_at_each_mark_a_replay_is_what_the_content_was(void **state)
{
	char *was = malloc((size_t)STEPS * ROOM), *got = malloc(ROOM);
	size_t sizes[STEPS];

	for (int kind = 0; kind < MEM_KINDS; kind++) {
		struct rnd rnd;
		struct replay p;
		struct log_record r;
		int mark = 0;

		rnd_init(&rnd, (uint64_t)kind);
		memset(was, 0, (size_t)STEPS * ROOM);
		open_image(&mem_kinds[kind], CMFS_CACHE_WRITEBACK);
		for (int i = 0; i < STEPS; i++) {
			change_once(&rnd, i);
			assert_int_equal(cmfs_write_log_mark(the_log, "step", NULL), 0);
			sizes[i] = mem_store_size(store, MEM_NOW);
			mem_store_read(store, MEM_NOW, was + (size_t)i * ROOM, sizes[i], 0);
		}
		replay_open(&p);
		while (replay_next(&p, &r, kind == 1)) {
			if (!(r.flags & LOG_MARK) || strcmp(r.text, "step") != 0)
				continue;
			assert_true(replay_read(&p, got, ROOM) >= sizes[mark]);
			if (memcmp(got, was + (size_t)mark * ROOM, ROOM) != 0)
				fail_msg("kind %d, step %d", kind, mark);
			mark++;
		}
		replay_close(&p);
		assert_int_equal(mark, STEPS);
		assert_int_equal(finish(), 0);
	}
	free(was);
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_mode_s_writes_and_flushes_are_logged_as_such),
		cmocka_unit_test(test_what_is_not_whole_sectors_is_logged_with_its_neighbours),
		cmocka_unit_test(test_growth_and_what_is_cut_off_are_writes),
		cmocka_unit_test(test_punching_discards_whole_sectors_and_then_zeroes),
		cmocka_unit_test(test_a_copy_is_logged),
		cmocka_unit_test(test_a_failed_change_is_logged_as_what_it_left),
		cmocka_unit_test(test_where_nobody_knows_what_it_left_the_log_stops),
		cmocka_unit_test(test_a_failed_flush_is_none_in_the_log),
		cmocka_unit_test(test_an_image_goes_on_when_its_log_has_no_room),
		cmocka_unit_test(test_far_out_there_is_nothing_to_log),
		cmocka_unit_test(test_overlapping_changes_are_logged_in_the_order_of_the_content),
		cmocka_unit_test(test_what_is_written_during_a_flush_comes_behind_it),
		cmocka_unit_test(test_a_log_of_threads_is_in_the_order_of_the_content),
		cmocka_unit_test(test_at_each_mark_a_replay_is_what_the_content_was),
	};

	return cmocka_run_group_tests(tests, host_dir_setup, host_dir_teardown);
}
