// SPDX-License-Identifier: GPL-2.0-or-later
/* The lock on a host file, against others that are made as QEMU makes its own (P8). */
#include "harness.h"
#include "host_file.h"
#include "host_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITER "100 101 103 201 203"
#define READER "100 201 203"

/* Who may meet us: the bytes that they lock, and beside whom of ours they can be. */
static const struct other {
	const char *name, *bytes;
	bool beside_writer, beside_reader;
} others[] = {
	{ "cmfs, or QEMU's qcow2 for writing", WRITER, false, false },
	{ "cmfs -o ro, or QEMU's qcow2 for reading", READER, false, true },
	{ "raw disk of a guest", "100 101 201", false, false },
	{ "raw disk of a guest, readonly=on", "100 201", false, true },
	{ "raw disk of a guest, share-rw=on", "100 101", false, false },
	{ "qemu-nbd of raw", "100 101 203", false, false },
	{ "qemu-nbd -r of raw", "100 203", false, true },
	{ "qemu-img convert from raw", READER, false, true },
	{ "qemu-img info of qcow2", "201 203", false, true },
	{ "qemu-img resize of raw", "100 101 103", false, false },
	{ "qemu-io of raw", "100 101", false, false },
	{ "qemu-io -r of raw, or with -U", "100", true, true },
	{ "qemu-img info of raw", "", true, true },
	{ "who writes what is there already", "100 102", true, true },
	{ "who lets nobody read", "100 200", false, false },
	{ "libvirt's lock", "0", true, true },
};

/* ---- others ---- */

static bool names_byte(const char *bytes, long byte)
{
	char *end;

	for (const char *p = bytes; *p; p = end) {
		if (strtol(p, &end, 10) == byte)
			return true;
	}
	return false;
}

static int set_lock(int fd, long byte, long len, short type)
{
	struct flock range = { .l_type = type, .l_start = byte, .l_len = len };

	return fcntl(fd, F_OFD_SETLK, &range);
}

static bool is_locked(int fd, long byte)
{
	struct flock range = { .l_type = F_WRLCK, .l_start = byte, .l_len = 1 };

	assert_int_equal(fcntl(fd, F_OFD_GETLK, &range), 0);
	return range.l_type != F_UNLCK;
}

static long opposite(long byte)
{
	return byte < 200 ? byte + 100 : byte - 100;
}

/* As QEMU does it: lock, then look. A descriptor with its locks, -1 if it is refused. */
static int come(const char *path, const char *bytes)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	for (long byte = 0; byte < 300; byte++) {
		if (names_byte(bytes, byte))
			assert_int_equal(set_lock(fd, byte, 1, F_RDLCK), 0);
	}
	for (long byte = 100; byte < 300; byte++) {
		if (names_byte(bytes, byte) && is_locked(fd, opposite(byte))) {
			close(fd);
			return -1;
		}
	}
	return fd;
}

/* What everybody sees, us excepted, is locks on just these bytes. */
static void assert_locked(const char *path, const char *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	for (long byte = 0; byte < 300; byte++) {
		if (is_locked(fd, byte) != names_byte(bytes, byte))
			fail_msg("byte %ld, where \"%s\" are to be locked", byte, bytes);
	}
	close(fd);
}

/* ---- ours ---- */

static int try_lock(const char *path, enum cmfs_locking locking, bool readonly,
		    struct cmfs_host_lock **ret, struct cmfs_err *err)
{
	int fd = open(path, O_PATH | O_CLOEXEC), r;

	assert_true(fd >= 0);
	*ret = NULL;
	r = cmfs_host_lock_take(fd, locking, readonly, "the image", ret, err);
	close(fd);
	return r;
}

static struct cmfs_host_lock *take(const char *path, bool readonly)
{
	struct cmfs_host_lock *lock;
	struct cmfs_err err;

	if (try_lock(path, CMFS_LOCKING_AUTO, readonly, &lock, &err) < 0)
		fail_msg("%s", err.msg);
	assert_false(cmfs_host_lock_is_missing(lock));
	return lock;
}

static void test_take_beside_others_is_as_with_qemu(void **state)
{
	const char *path = host_file_make("image", 0, 4096);
	const size_t before = host_descriptors();

	for (size_t i = 0; i < 2 * ARRAY_SIZE(others); i++) {
		const struct other *other = &others[i / 2];
		bool readonly = i % 2;
		bool beside = readonly ? other->beside_reader : other->beside_writer;
		int fd = come(path, other->bytes);
		struct cmfs_host_lock *lock;
		int r = try_lock(path, CMFS_LOCKING_AUTO, readonly, &lock, NULL);

		if (r != (beside ? 0 : -EBUSY))
			fail_msg("a %s after \"%s\": %d", readonly ? "reader" : "writer",
				 other->name, r);
		cmfs_host_lock_drop(lock, readonly);
		assert_locked(path, other->bytes); /* no more, and no less */
		close(fd);
	}
	assert_int_equal(host_descriptors(), before);
}

static void test_others_beside_ours_are_as_with_qemu(void **state)
{
	const char *path = host_file_make("image", 0, 4096);

	for (size_t i = 0; i < 2 * ARRAY_SIZE(others); i++) {
		const struct other *other = &others[i / 2];
		bool readonly = i % 2;
		bool beside = readonly ? other->beside_reader : other->beside_writer;
		struct cmfs_host_lock *lock = take(path, readonly);
		int fd = come(path, other->bytes);

		if ((fd >= 0) != beside)
			fail_msg("\"%s\" after a %s", other->name, readonly ? "reader" : "writer");
		if (fd >= 0)
			close(fd);
		assert_locked(path, readonly ? READER : WRITER);
		cmfs_host_lock_drop(lock, readonly);
		assert_locked(path, "");
	}
}

static void test_refusal_tells_of_the_other_and_what_works(void **state)
{
	static const struct {
		const char *bytes;
		bool readonly;
		const char *says;
		bool hint; /* that -o ro would do */
	} rows[] = {
		{ "100 101 201", false, "holds the \"write\" lock", false },
		{ WRITER, false, "holds the \"write\" lock", false },
		{ "103", false, "holds the \"resize\" lock", false },
		{ "101", true, "holds the \"write\" lock", false },
		{ "103", true, "holds the \"resize\" lock", false },
		{ "201", false, "lets nobody else have the \"write\" lock", true },
		{ "203", false, "lets nobody else have the \"resize\" lock", true },
		{ "200", true, "lets nobody else have the \"consistent read\" lock", false },
		{ "200", false, "lets nobody else have the \"consistent read\" lock", false },
	};
	const char *path = host_file_make("image", 0, 4096);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int fd = come(path, rows[i].bytes);
		struct cmfs_host_lock *lock;
		struct cmfs_err err;

		assert_int_equal(try_lock(path, CMFS_LOCKING_AUTO, rows[i].readonly, &lock, &err),
				 -EBUSY);
		if (strncmp(err.msg, "the image: is in use: ", 22) != 0 ||
		    !strstr(err.msg, rows[i].says) || !strstr(err.msg, "locking=off") ||
		    !!strstr(err.msg, "-o ro") != rows[i].hint || strchr(err.msg, '\n'))
			fail_msg("row %zu: %s", i, err.msg);
		close(fd);
	}
}

/* One that QEMU does not know, over all of the file. */
static void test_take_of_what_is_locked_as_a_whole_is_refused(void **state)
{
	const char *path = host_file_make("image", 0, 4096);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct cmfs_host_lock *lock;
	struct cmfs_err err;

	assert_int_equal(set_lock(fd, 0, 0, F_WRLCK), 0);
	for (int readonly = 0; readonly < 2; readonly++) {
		assert_int_equal(try_lock(path, CMFS_LOCKING_ON, readonly, &lock, &err), -EBUSY);
		assert_non_null(strstr(err.msg, "has locked it"));
	}
	close(fd);
	cmfs_host_lock_drop(take(path, false), false);
}

static void test_locking_on_holds_and_off_neither_holds_nor_asks(void **state)
{
	const char *path = host_file_make("image", 0, 4096);
	struct cmfs_host_lock *on, *off, *again;

	assert_int_equal(try_lock(path, CMFS_LOCKING_ON, false, &on, NULL), 0);
	assert_locked(path, WRITER);
	assert_int_equal(try_lock(path, CMFS_LOCKING_OFF, false, &off, NULL), 0);
	assert_false(cmfs_host_lock_is_missing(off));
	assert_int_equal(cmfs_host_lock_share(off, false, "the image", &again, NULL), 0);
	cmfs_host_lock_drop(off, false);
	cmfs_host_lock_drop(on, false);
	assert_locked(path, "");
	cmfs_host_lock_drop(off, false);
}

/* ---- openings ---- */

/* A live switch opens before it closes: nobody gets in between. */
static void test_share_and_drop_hold_what_the_openings_need(void **state)
{
	static const struct {
		char step; /* r, w: opened for reading, writing; R, W: closed */
		const char *holds;
	} steps[] = {
		{ 'w', WRITER }, { 'W', WRITER }, { 'r', WRITER }, { 'W', READER },
		{ 'r', READER }, { 'R', READER }, { 'w', WRITER }, { 'w', WRITER },
		{ 'W', WRITER }, { 'R', WRITER }, { 'W', "" },
	};
	const char *path = host_file_make("image", 0, 4096);
	struct cmfs_host_lock *lock = take(path, false), *same;

	assert_locked(path, WRITER);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		bool readonly = steps[i].step == 'r' || steps[i].step == 'R';

		if (steps[i].step >= 'a')
			assert_int_equal(
				cmfs_host_lock_share(lock, readonly, "the image", &same, NULL), 0);
		else
			cmfs_host_lock_drop(lock, readonly);
		assert_locked(path, steps[i].holds);
	}
}

static void test_share_for_writing_beside_a_reader_is_refused(void **state)
{
	const char *path = host_file_make("image", 0, 4096);
	struct cmfs_host_lock *one = take(path, true), *two = take(path, true), *same;
	struct cmfs_err err;

	assert_int_equal(cmfs_host_lock_share(one, false, "the image", &same, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "lets nobody else have the \"write\" lock"));
	assert_null(strstr(err.msg, "-o ro"));
	assert_locked(path, READER);
	cmfs_host_lock_drop(two, true);
	assert_int_equal(cmfs_host_lock_share(one, false, "the image", &same, &err), 0);
	assert_locked(path, WRITER);
	cmfs_host_lock_drop(one, true);
	assert_locked(path, WRITER);
	cmfs_host_lock_drop(one, false);
	assert_locked(path, "");
}

/* ---- threads ---- */

static void close_soon(void *arg)
{
	usleep(30 * 1000);
	close(*(int *)arg);
}

/* As a cmfs that was killed does when its mount is dead already (P11). */
static void test_take_waits_for_who_is_about_to_end(void **state)
{
	const char *path = host_file_make("image", 0, 4096);

	for (int i = 0; i < 50; i++) {
		int fd = come(path, WRITER);
		struct cmfs_host_lock *lock;
		struct thread thread;
		int r;

		assert_true(fd >= 0);
		thread_start(&thread, close_soon, &fd);
		r = try_lock(path, CMFS_LOCKING_AUTO, false, &lock, NULL);
		thread_join(&thread);
		cmfs_host_lock_drop(lock, false);
		if (r == 0)
			return;
	}
	fail_msg("never");
}

struct race {
	const char *path;
	atomic_int inside, most, taken;
};

static void race(void *arg)
{
	struct race *r = arg;

	for (int i = 0; i < 50; i++) {
		struct cmfs_host_lock *lock;
		int n;

		if (try_lock(r->path, CMFS_LOCKING_AUTO, false, &lock, NULL) < 0)
			continue;
		n = atomic_fetch_add(&r->inside, 1) + 1;
		if (n > atomic_load(&r->most))
			atomic_store(&r->most, n);
		atomic_fetch_add(&r->taken, 1);
		atomic_fetch_sub(&r->inside, 1);
		cmfs_host_lock_drop(lock, false);
	}
}

static void test_of_writers_that_come_at_a_time_one_gets_in_at_most(void **state)
{
	struct race r = { .path = host_file_make("image", 0, 4096) };
	struct thread threads[4];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		thread_start(&threads[i], race, &r);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		thread_join(&threads[i]);
	print_message("taken %d times of 200\n", r.taken);
	assert_true(r.taken > 0);
	assert_int_equal(r.most, 1);
	assert_locked(r.path, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_dir_setup, host_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_take_beside_others_is_as_with_qemu),
		TEST(test_others_beside_ours_are_as_with_qemu),
		TEST(test_refusal_tells_of_the_other_and_what_works),
		TEST(test_take_of_what_is_locked_as_a_whole_is_refused),
		TEST(test_locking_on_holds_and_off_neither_holds_nor_asks),
		TEST(test_share_and_drop_hold_what_the_openings_need),
		TEST(test_share_for_writing_beside_a_reader_is_refused),
		TEST(test_take_waits_for_who_is_about_to_end),
		TEST(test_of_writers_that_come_at_a_time_one_gets_in_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
