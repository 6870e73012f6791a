// SPDX-License-Identifier: GPL-2.0-or-later
/* The write log's file: its bytes, read by a reader that knows the format only. */
#include "cmfs/write_log.h"

#include "../helpers/log_reader.h"
#include "harness.h"
#include "host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char *path;
static struct cmfs_write_log *the_log;
static char a[4096], b[4096];

static int setup(void **state)
{
	path = host_path("log");
	unlink(path);
	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	return cmfs_write_log_create(path, &the_log, NULL);
}

static int teardown(void **state)
{
	cmfs_write_log_unref(the_log);
	the_log = NULL;
	unlink(path);
	return 0;
}

/* How many entries the file tells of, all of them being in order. */
static uint64_t read_all(struct log_record *ret, size_t max)
{
	struct log_reader reader;
	struct log_record r;
	int fd = open(path, O_RDONLY);

	if (!log_open(&reader, fd))
		fail_msg("%s", reader.wrong);
	while (log_next(&reader, &r)) {
		if (reader.next - 1 < max)
			ret[reader.next - 1] = r;
	}
	if (reader.wrong)
		fail_msg("entry %d: %s", (int)reader.next - 1, reader.wrong);
	close(fd);
	return reader.next;
}

static void assert_data(const struct log_record *r, const void *data, uint64_t off, uint64_t len)
{
	int fd = open(path, O_RDONLY);
	char *got = malloc(len);

	assert_int_equal(r->off, off);
	assert_int_equal(r->len, len);
	assert_int_equal(pread(fd, got, len, (off_t)r->data), len);
	assert_memory_equal(got, data, len);
	free(got);
	close(fd);
}

static void test_a_new_log_is_private_and_has_no_entries(void **state)
{
	struct stat st;

	assert_int_equal(read_all(NULL, 0), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 512);
}

static void test_an_existing_file_is_left_alone(void **state)
{
	struct cmfs_write_log *other = NULL;
	struct cmfs_err err;

	assert_int_equal(cmfs_write_log_create(path, &other, &err), -EEXIST);
	assert_null(other);
	assert_non_null(strstr(err.msg, path));
	assert_non_null(strstr(err.msg, "exists"));
	assert_int_equal(read_all(NULL, 0), 0);
	assert_int_equal(cmfs_write_log_create("/nonexistent/log", &other, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nonexistent/log"));
}

static void test_each_kind_of_entry_is_as_the_format_has_it(void **state)
{
	struct log_record r[8];
	struct cmfs_log_flush flush;

	cmfs_write_log_data(the_log, a, 1024, 512, 0);
	cmfs_write_log_data(the_log, b, 512, UINT64_C(1) << 40, CMFS_LOG_FUA);
	cmfs_write_log_discard(the_log, 8192, 4096);
	assert_int_equal(cmfs_write_log_mark(the_log, "hello there", NULL), 0);
	flush = cmfs_write_log_begin_flush(the_log);
	cmfs_write_log_end_flush(the_log, flush, true);
	flush = cmfs_write_log_begin_flush(the_log);
	cmfs_write_log_end_flush(the_log, flush, false);
	cmfs_write_log_data(the_log, NULL, 1536, 0, 0);

	assert_int_equal(read_all(r, 8), 7);
	assert_int_equal(r[0].flags, 0);
	assert_data(&r[0], a, 512, 1024);
	assert_int_equal(r[1].flags, LOG_FUA);
	assert_data(&r[1], b, UINT64_C(1) << 40, 512);
	assert_int_equal(r[2].flags, LOG_DISCARD);
	assert_int_equal(r[2].off, 4096);
	assert_int_equal(r[2].len, 8192);
	assert_int_equal(r[3].flags, LOG_MARK);
	assert_string_equal(r[3].text, "hello there");
	assert_int_equal(r[4].flags, LOG_FLUSH);
	assert_int_equal(r[5].flags, LOG_MARK);
	assert_string_equal(r[5].text, "flush failed");
	memset(a, 0, 1536);
	assert_data(&r[6], a, 0, 1536);
}

/* Somebody who is killed leaves all that was acknowledged. */
static void test_each_entry_is_counted_before_it_is_acknowledged(void **state)
{
	for (uint64_t i = 0; i < 100; i++) {
		if (i % 3 == 0)
			cmfs_write_log_data(the_log, i % 2 ? a : NULL, 512 * (i % 7 + 1), 512 * i,
					    0);
		else if (i % 3 == 1)
			cmfs_write_log_mark(the_log, "m", NULL);
		else
			cmfs_write_log_end_flush(the_log, cmfs_write_log_begin_flush(the_log),
						 true);
		assert_int_equal(read_all(NULL, 0), i + 1);
		assert_int_equal(cmfs_write_log_status(the_log).entries, i + 1);
	}
}

static void test_a_flush_stands_where_it_began_and_is_one_when_it_worked(void **state)
{
	struct cmfs_log_flush flush, second;
	struct log_record r[8];

	cmfs_write_log_data(the_log, a, 512, 0, 0);
	flush = cmfs_write_log_begin_flush(the_log);
	cmfs_write_log_data(the_log, b, 512, 0, 0);
	second = cmfs_write_log_begin_flush(the_log);
	cmfs_write_log_data(the_log, b, 512, 512, 0);
	assert_int_equal(read_all(r, 8), 5);
	assert_int_equal(r[1].flags, 0);
	cmfs_write_log_end_flush(the_log, second, true);
	assert_int_equal(read_all(r, 8), 5);
	assert_int_equal(r[1].flags, 0);
	assert_int_equal(r[3].flags, LOG_FLUSH);
	cmfs_write_log_end_flush(the_log, flush, true);
	assert_int_equal(read_all(r, 8), 5);
	assert_int_equal(r[1].flags, LOG_FLUSH);
	assert_data(&r[2], b, 0, 512);
}

static void test_many_zeroes_take_no_space_and_come_in_portions(void **state)
{
	const uint64_t len = UINT64_C(100) << 20;
	struct log_record r[8];
	struct stat st;
	uint64_t at = 512;

	cmfs_write_log_data(the_log, NULL, len, at, CMFS_LOG_FUA);
	assert_int_equal(read_all(r, 8), 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(r[i].flags, LOG_FUA);
		assert_int_equal(r[i].off, at);
		assert_true(r[i].len <= 32 << 20);
		at += r[i].len;
	}
	assert_int_equal(at, len + 512);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks < 2048);
}

static void test_marks_have_limits(void **state)
{
	char text[CMFS_WRITE_LOG_MARK_MAX + 2];
	struct cmfs_err err;
	struct log_record r[2];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(cmfs_write_log_mark(the_log, text, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "479"));
	assert_int_equal(cmfs_write_log_mark(the_log, "", &err), -EINVAL);
	assert_int_equal(read_all(NULL, 0), 0);
	text[CMFS_WRITE_LOG_MARK_MAX] = '\0';
	assert_int_equal(cmfs_write_log_mark(the_log, text, &err), 0);
	assert_int_equal(read_all(r, 2), 1);
	assert_string_equal(r[0].text, text);
}

static void test_a_whole_log_ends_with_its_mark(void **state)
{
	struct log_record r[4];
	struct cmfs_write_log *mine = cmfs_write_log_ref(the_log);

	cmfs_write_log_data(the_log, a, 512, 0, 0);
	assert_int_equal(cmfs_write_log_unref(the_log), 0);
	assert_int_equal(read_all(r, 4), 1);
	assert_int_equal(cmfs_write_log_unref(mine), 0);
	the_log = NULL;
	assert_int_equal(read_all(r, 4), 2);
	assert_string_equal(r[1].text, "dm-log-writes-end");
}

static void test_a_dropped_log_leaves_no_file(void **state)
{
	cmfs_write_log_data(the_log, a, 512, 0, 0);
	cmfs_write_log_drop(the_log);
	assert_int_equal(cmfs_write_log_unref(the_log), 0);
	the_log = NULL;
	assert_int_equal(access(path, F_OK), -1);
}

static void test_a_stopped_log_takes_no_more_and_is_not_whole(void **state)
{
	struct cmfs_write_log_status status;
	struct cmfs_err err;

	cmfs_write_log_data(the_log, a, 512, 0, 0);
	assert_false(cmfs_write_log_take_error(the_log, &status));
	cmfs_write_log_stop(the_log, -EIO);
	cmfs_write_log_stop(the_log, -ENOSPC);
	cmfs_write_log_data(the_log, b, 512, 0, 0);
	cmfs_write_log_discard(the_log, 512, 0);
	cmfs_write_log_end_flush(the_log, cmfs_write_log_begin_flush(the_log), true);
	assert_int_equal(cmfs_write_log_mark(the_log, "late", &err), -EIO);
	assert_non_null(strstr(err.msg, "stopped"));
	assert_int_equal(read_all(NULL, 0), 1);
	assert_true(cmfs_write_log_take_error(the_log, &status));
	assert_int_equal(status.error, -EIO);
	assert_int_equal(status.entries, 1);
	assert_string_equal(status.path, path);
	assert_false(cmfs_write_log_take_error(the_log, &status));
	assert_int_equal(cmfs_write_log_unref(the_log), -EIO);
	the_log = NULL;
	assert_int_equal(read_all(NULL, 0), 1);
}

/* No more room: by a limit on the size of files, 64 KiB. */
static void with_limit(void (*run)(void))
{
	struct rlimit old, limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){ .rlim_cur = 65536, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	run();
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
}

static void fill_up(void)
{
	for (int i = 0; i < 100; i++)
		cmfs_write_log_data(the_log, a, 4096, (uint64_t)i * 4096, 0);
}

static void fill_up_with_zeroes(void)
{
	cmfs_write_log_data(the_log, a, 4096, 0, 0);
	cmfs_write_log_data(the_log, NULL, 1 << 20, 0, 0);
	cmfs_write_log_data(the_log, b, 512, 0, 0);
}

static void test_a_log_without_room_stops_and_tells_what_it_has(void **state)
{
	struct log_record r[100];

	with_limit(fill_up);
	assert_int_equal(cmfs_write_log_status(the_log).error, -EFBIG);
	/* 127 sectors behind the first, 9 for each entry. */
	assert_int_equal(read_all(r, 100), 14);
	assert_int_equal(r[13].off, 13 * 4096);
	/* Room again: it would leave out what was not logged. */
	cmfs_write_log_data(the_log, b, 512, 0, 0);
	assert_int_equal(read_all(NULL, 0), 14);
	assert_int_equal(cmfs_write_log_unref(the_log), -EFBIG);
	assert_int_equal(read_all(NULL, 0), 14);

	unlink(path);
	setup(NULL);
	with_limit(fill_up_with_zeroes);
	assert_int_equal(cmfs_write_log_status(the_log).error, -EFBIG);
	assert_int_equal(read_all(NULL, 0), 1);
}

/* ---- threads ---- */

#define THREADS 4
#define ADDS	300

static void add_many(void *arg)
{
	uint64_t me = (uint64_t)(uintptr_t)arg;
	struct rnd rnd;
	char data[4096];

	rnd_init(&rnd, me);
	for (uint64_t i = 0; i < ADDS; i++) {
		uint64_t len = 512 * (rnd_below(&rnd, 8) + 1);

		memset(data, (int)(me * 31 + i), len);
		cmfs_write_log_data(the_log, data, len, (me << 30) + i * 4096, 0);
		if (i % 16 == me)
			cmfs_write_log_end_flush(the_log, cmfs_write_log_begin_flush(the_log),
						 true);
	}
}

static void test_threads_add_whole_entries_each_in_its_order(void **state)
{
	struct thread threads[THREADS];
	struct log_reader reader;
	struct log_record r;
	uint64_t next[THREADS] = { 0 }, seen = 0;
	char data[4096];
	bool done;

	for (uintptr_t i = 0; i < THREADS; i++)
		thread_start(&threads[i], add_many, (void *)i);
	do { /* meanwhile: whatever the file tells of is there */
		done = true;
		for (int i = 0; i < THREADS; i++)
			done &= thread_done(&threads[i]);
		assert_true(read_all(NULL, 0) >= seen);
		seen = read_all(NULL, 0);
	} while (!done);
	for (int i = 0; i < THREADS; i++)
		thread_join(&threads[i]);

	assert_true(log_open(&reader, open(path, O_RDONLY)));
	while (log_next(&reader, &r)) {
		uint64_t who = r.off >> 30, which = (r.off & ((1 << 30) - 1)) / 4096;

		if (r.len == 0)
			continue;
		assert_int_equal(which, next[who]++);
		assert_int_equal(pread(reader.fd, data, r.len, (off_t)r.data), r.len);
		for (uint64_t i = 0; i < r.len; i++)
			assert_int_equal((uint8_t)data[i], (uint8_t)(who * 31 + which));
	}
	assert_null(reader.wrong);
	close(reader.fd);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(next[i], ADDS);
}

#define SMALL_ADDS 5000

static void add_small(void *arg)
{
	for (uint64_t i = 0; i < SMALL_ADDS; i++)
		cmfs_write_log_data(the_log, a, 512, 512, 0);
}

/* Read on as the log grows: a place that is not written yet would be all zeroes. */
static void follow(struct log_reader *reader)
{
	struct log_reader now;
	struct log_record r;
	char data[512];

	assert_true(log_open(&now, reader->fd));
	reader->entries = now.entries;
	reader->size = now.size;
	while (log_next(reader, &r)) {
		assert_int_equal(r.off, 512);
		assert_int_equal(r.len, 512);
		assert_int_equal(pread(reader->fd, data, 512, (off_t)r.data), 512);
		assert_memory_equal(data, a, 512);
	}
	assert_null(reader->wrong);
}

static void test_nothing_is_counted_that_is_not_there_in_whole(void **state)
{
	struct thread threads[2 * THREADS];
	struct log_reader reader;
	bool done;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		thread_start(&threads[i], add_small, NULL);
	assert_true(log_open(&reader, open(path, O_RDONLY)));
	do {
		done = true;
		for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
			done &= thread_done(&threads[i]);
		follow(&reader);
	} while (!done);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		thread_join(&threads[i]);
	assert_int_equal(reader.next, ARRAY_SIZE(threads) * SMALL_ADDS);
	close(reader.fd);
}

static void test_threads_that_meet_the_end_of_the_room_leave_a_right_log(void **state)
{
	struct thread threads[THREADS];
	struct rlimit old, limit;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){ .rlim_cur = 200000, .rlim_max = old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &limit);
	for (uintptr_t i = 0; i < THREADS; i++)
		thread_start(&threads[i], add_many, (void *)i);
	for (int i = 0; i < THREADS; i++)
		thread_join(&threads[i]);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(cmfs_write_log_status(the_log).error, -EFBIG);
	assert_in_range(read_all(NULL, 0), 1, 390);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_new_log_is_private_and_has_no_entries),
		CASE(test_an_existing_file_is_left_alone),
		CASE(test_each_kind_of_entry_is_as_the_format_has_it),
		CASE(test_each_entry_is_counted_before_it_is_acknowledged),
		CASE(test_a_flush_stands_where_it_began_and_is_one_when_it_worked),
		CASE(test_many_zeroes_take_no_space_and_come_in_portions),
		CASE(test_marks_have_limits),
		CASE(test_a_whole_log_ends_with_its_mark),
		CASE(test_a_dropped_log_leaves_no_file),
		CASE(test_a_stopped_log_takes_no_more_and_is_not_whole),
		CASE(test_a_log_without_room_stops_and_tells_what_it_has),
		CASE(test_threads_add_whole_entries_each_in_its_order),
		CASE(test_nothing_is_counted_that_is_not_there_in_whole),
		CASE(test_threads_that_meet_the_end_of_the_room_leave_a_right_log),
	};

	return cmocka_run_group_tests(tests, host_dir_setup, host_dir_teardown);
}
