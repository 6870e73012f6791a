// SPDX-License-Identifier: GPL-2.0-or-later
/* The file backend on real files: opening, descriptors, messages, metadata. */
#include "harness.h"
#include "host_file.h"

#include "cmfs/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct cmfs_backend *open_file(const char *path, enum cmfs_cache_mode mode, bool readonly)
{
	/* A lock has a descriptor of its own. */
	const struct cmfs_host_options options = { .locking = CMFS_LOCKING_OFF };
	struct cmfs_open_how how = cmfs_image_open_how(mode, readonly);
	struct cmfs_backend *be;
	struct cmfs_err err = { "" };

	if (cmfs_backend_file_open(path, &how, &options, &be, &err) < 0)
		fail_msg("%s", err.msg);
	return be;
}

static bool can_open(enum cmfs_cache_mode mode)
{
	return !cmfs_cache_props(mode)->direct || host_has_direct();
}

/* ---- descriptors ---- */

/* clang-format off */
static const int open_flags[CMFS_CACHE_MODES] = { /* the table in PROMISES */
	[CMFS_CACHE_WRITEBACK]    = 0,
	[CMFS_CACHE_NONE]         = O_DIRECT,
	[CMFS_CACHE_WRITETHROUGH] = O_DSYNC,
	[CMFS_CACHE_DIRECTSYNC]   = O_DIRECT | O_DSYNC,
	[CMFS_CACHE_UNSAFE]       = 0,
};
/* clang-format on */

static void check_flags(const char *path, enum cmfs_cache_mode mode, bool readonly)
{
	const int asked = O_ACCMODE | O_DIRECT | O_DSYNC;
	const int expected = (readonly ? O_RDONLY : O_RDWR) | open_flags[mode];
	/* A direct one that may write has a second one, for what cannot be aligned. */
	const bool two = cmfs_cache_props(mode)->direct && !readonly;
	int fds[4], as_promised = 0, for_the_end = 0;
	size_t n = host_file_descriptors(path, fds, ARRAY_SIZE(fds));

	assert_int_equal(n, two ? 2 : 1);
	for (size_t i = 0; i < n; i++) {
		int flags = fcntl(fds[i], F_GETFL) & asked;

		as_promised += flags == expected;
		for_the_end += two && flags == (expected & ~O_DIRECT);
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
	}
	assert_int_equal(as_promised, 1);
	assert_int_equal(for_the_end, two);
}

static void test_descriptors_of_each_mode_have_its_flags(void **state)
{
	const char *path = host_file_make("image", 'x', 5000);
	const size_t before = host_descriptors();

	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		for (int readonly = 0; readonly <= 1 && can_open(mode); readonly++) {
			struct cmfs_backend *be = open_file(path, mode, readonly);

			check_flags(path, mode, readonly);
			cmfs_backend_close(be);
			assert_int_equal(host_descriptors(), before);
		}
	}
}

static void test_reopen_to_each_mode_has_its_flags(void **state)
{
	const char *path = host_file_make("image", 'x', 5000);

	for (int i = 0; i < CMFS_CACHE_MODES * CMFS_CACHE_MODES * 2; i++) {
		enum cmfs_cache_mode from = i % CMFS_CACHE_MODES, to = i / 2 / CMFS_CACHE_MODES;
		struct cmfs_open_how how = cmfs_image_open_how(to, i % 2);
		struct cmfs_backend *be, *other;

		if (!can_open(from) || !can_open(to))
			continue;
		be = open_file(path, from, i % 2);
		assert_int_equal(cmfs_backend_reopen(be, &how, &other, NULL), 0);
		cmfs_backend_close(be);
		check_flags(path, to, i % 2);
		cmfs_backend_close(other);
	}
}

static void test_reopen_when_the_path_leads_elsewhere_reaches_the_same_file(void **state)
{
	const char *path = host_file_make("image", 'x', 5000), *moved = host_path("moved");
	struct cmfs_open_how how = cmfs_image_open_how(CMFS_CACHE_WRITETHROUGH, false);
	struct cmfs_backend *be = open_file(path, CMFS_CACHE_WRITEBACK, false), *other, *again;

	assert_int_equal(rename(path, moved), 0);
	host_file_make("image", 'y', 100);
	assert_int_equal(cmfs_backend_reopen(be, &how, &other, NULL), 0);
	cmfs_backend_close(be);
	assert_int_equal(cmfs_backend_write(other, "abc", 3, 5000, CMFS_VOLATILE), 0);
	assert_int_equal(host_file_size(moved), 5003);
	assert_int_equal(host_file_size(path), 100);

	/* Nameless it is still there. */
	assert_int_equal(unlink(moved), 0);
	assert_int_equal(cmfs_backend_reopen(other, &how, &again, NULL), 0);
	assert_int_equal(cmfs_backend_write(again, "abc", 3, 0, CMFS_VOLATILE), 0);
	cmfs_backend_close(other);
	cmfs_backend_close(again);
}

/* ---- the lock ---- */

static bool opens(const char *path, bool readonly)
{
	struct cmfs_open_how how = cmfs_image_open_how(CMFS_CACHE_WRITEBACK, readonly);
	struct cmfs_backend *be;

	if (cmfs_backend_file_open(path, &how, NULL, &be, NULL) < 0)
		return false;
	cmfs_backend_close(be);
	return true;
}

static void test_file_is_locked_from_its_first_opening_to_its_last(void **state)
{
	const char *path = host_file_make("image", 'x', 5000);
	struct cmfs_open_how how = { .readonly = true };
	struct cmfs_backend *reader, *writer, *again;

	assert_int_equal(cmfs_backend_file_open(path, &how, NULL, &reader, NULL), 0);
	assert_true(opens(path, true) && !opens(path, false));
	how.readonly = false;
	assert_int_equal(cmfs_backend_reopen(reader, &how, &writer, NULL), 0);
	assert_true(!opens(path, true) && !opens(path, false));
	how.dsync = true;
	assert_int_equal(cmfs_backend_reopen(writer, &how, &again, NULL), 0);
	cmfs_backend_close(writer);
	assert_true(!opens(path, true) && !opens(path, false));
	cmfs_backend_close(again);
	assert_true(opens(path, true) && !opens(path, false));
	cmfs_backend_close(reader);
	assert_true(opens(path, false));
}

static void test_reopen_for_writing_beside_another_reader_is_refused(void **state)
{
	const char *path = host_file_make("image", 'x', 5000);
	struct cmfs_open_how how = { .readonly = true };
	struct cmfs_backend *one, *two, *writer;
	struct cmfs_err err = { "" };
	size_t before;

	assert_int_equal(cmfs_backend_file_open(path, &how, NULL, &one, NULL), 0);
	assert_int_equal(cmfs_backend_file_open(path, &how, NULL, &two, NULL), 0);
	how.readonly = false;
	before = host_descriptors();
	assert_int_equal(cmfs_backend_reopen(one, &how, &writer, &err), -EBUSY);
	assert_non_null(strstr(err.msg, path));
	assert_int_equal(host_descriptors(), before);
	cmfs_backend_close(two);
	assert_int_equal(cmfs_backend_reopen(one, &how, &writer, &err), 0);
	cmfs_backend_close(writer);
	cmfs_backend_close(one);
}

struct exchange {
	struct thread thread;
	const char *a, *b;
	atomic_bool stop;
};

static void exchange_files(void *arg)
{
	struct exchange *x = arg;

	while (!atomic_load(&x->stop))
		THREAD_CHECK(renameat2(AT_FDCWD, x->a, AT_FDCWD, x->b, RENAME_EXCHANGE) == 0);
}

/* Both descriptors of a direct file are of one file, though the path changes hands. */
static void test_open_while_the_path_changes_hands_is_of_one_file(void **state)
{
	struct exchange x = { .a = host_file_make("image", 'x', 5000),
			      .b = host_file_make("other", 'y', 5000) };
	uint64_t before, after;

	if (!host_has_direct() || renameat2(AT_FDCWD, x.a, AT_FDCWD, x.b, RENAME_EXCHANGE) < 0) {
		print_message("skipped: no O_DIRECT or no RENAME_EXCHANGE in the test directory\n");
		skip();
	}
	thread_start(&x.thread, exchange_files, &x);
	for (int i = 0; i < 1000; i++) {
		struct cmfs_backend *be = open_file(x.a, CMFS_CACHE_NONE, false);

		/* The first descriptor tells the size, the second one writes. */
		assert_int_equal(cmfs_backend_size(be, &before), 0);
		assert_int_equal(cmfs_backend_write_exact(be, "z", 1, before, CMFS_VOLATILE), 0);
		assert_int_equal(cmfs_backend_size(be, &after), 0);
		assert_int_equal(after, before + 1);
		cmfs_backend_close(be);
	}
	atomic_store(&x.stop, true);
	thread_join(&x.thread);
}

/* ---- refusals ---- */

static void check_refused(const char *path, enum cmfs_cache_mode mode, bool readonly, int error,
			  const char *word)
{
	struct cmfs_open_how how = cmfs_image_open_how(mode, readonly);
	struct cmfs_backend *untouched = (struct cmfs_backend *)&how, *be = untouched;
	struct cmfs_err err = { "" };
	const size_t before = host_descriptors();

	assert_int_equal(cmfs_backend_file_open(path, &how, NULL, &be, &err), error);
	assert_ptr_equal(be, untouched);
	assert_non_null(strstr(err.msg, path));
	if (!strstr(err.msg, word))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, word);
	assert_null(strchr(err.msg, '\n'));
	assert_int_equal(cmfs_backend_file_open(path, &how, NULL, &be, NULL), error);
	assert_int_equal(host_descriptors(), before);
}

static void test_open_of_what_is_no_image_is_refused_by_name(void **state)
{
	const char *fifo = host_path("fifo");

	assert_int_equal(mkfifo(fifo, 0600), 0);
	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		for (int readonly = 0; readonly <= 1; readonly++) {
			check_refused(host_path("missing"), mode, readonly, -ENOENT, "No such");
			check_refused(host_path("."), mode, readonly, -EISDIR, "directory");
			check_refused(fifo, mode, readonly, -EINVAL, "not a regular file");
			check_refused("/dev/null", mode, readonly, -EINVAL, "not a regular file");
			check_refused("", mode, readonly, -ENOENT, "No such");
		}
	}
}

static void test_open_without_permission_is_refused_by_name(void **state)
{
	const char *path = host_file_make("image", 'x', 5000);
	struct stat st;

	host_set_override(false);
	if (stat(path, &st) < 0) {
		host_set_override(true);
		print_message("skipped: the directory is closed to its user\n");
		skip();
	}
	assert_int_equal(chmod(path, 0400), 0);
	check_refused(path, CMFS_CACHE_WRITEBACK, false, -EACCES, "for writing");
	check_refused(path, CMFS_CACHE_WRITETHROUGH, false, -EACCES, "ro");
	cmfs_backend_close(open_file(path, CMFS_CACHE_WRITEBACK, true));
	assert_int_equal(chmod(path, 0), 0);
	check_refused(path, CMFS_CACHE_WRITEBACK, true, -EACCES, "ermission");
	host_set_override(true);
}

static void check_ramfs(const char *path)
{
	const char *message_names[] = { "ramfs", "O_DIRECT", "writeback", "writethrough",
					"unsafe" };

	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		for (int readonly = 0; readonly <= 1; readonly++) {
			if (!cmfs_cache_props(mode)->direct) {
				cmfs_backend_close(open_file(path, mode, readonly));
				continue;
			}
			for (size_t i = 0; i < ARRAY_SIZE(message_names); i++)
				check_refused(path, mode, readonly, -EOPNOTSUPP, message_names[i]);
		}
	}
}

/* A file system that is sure not to have O_DIRECT, in a mount namespace of our own. */
static void test_open_where_there_is_no_direct_io_names_what_works(void **state)
{
	struct cmfs_open_how how = cmfs_image_open_how(CMFS_CACHE_NONE, false);
	struct cmfs_backend *be, *other;
	struct cmfs_err err;
	const char *path;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", host_path("."), "ramfs", 0, NULL) < 0) {
		print_message("skipped: cannot mount a ramfs (%s)\n", strerror(errno));
		skip();
	}
	path = host_file_make("image", 'x', 5000);
	check_ramfs(path);
	be = open_file(path, CMFS_CACHE_WRITEBACK, false);
	assert_int_equal(cmfs_backend_reopen(be, &how, &other, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, path)); /* not /proc/self/fd/... */
	assert_non_null(strstr(err.msg, "ramfs"));
	cmfs_backend_close(be);
	assert_int_equal(umount(host_path(".")), 0);
}

static void test_write_beyond_the_resource_limit_is_too_big(void **state)
{
	const char *path = host_file_make("image", 'x', 5000);
	struct cmfs_backend *be = open_file(path, CMFS_CACHE_WRITEBACK, false);
	struct rlimit before, limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 65536;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(cmfs_backend_write(be, "abc", 3, 65536, CMFS_VOLATILE), -EFBIG);
	assert_int_equal(cmfs_backend_truncate(be, 65537), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(host_file_size(path), 5000);
	cmfs_backend_close(be);
}

/* ---- metadata ---- */

static void test_metadata_is_that_of_the_file(void **state)
{
	const struct timespec times[2] = { { .tv_sec = 1000 }, { .tv_sec = 2000 } };
	struct cmfs_backend *be = open_file(host_file_make("image", 'x', 5000), 0, false);
	const struct cmfs_backend_meta_ops *meta = be->ops->meta;
	struct statvfs vfs = { 0 };
	struct stat st;

	assert_int_equal(meta->chmod(be, 0640), 0);
	assert_int_equal(meta->chown(be, (uid_t)-1, (gid_t)-1), 0);
	assert_int_equal(meta->utimens(be, times), 0);
	assert_int_equal(meta->statvfs(be, &vfs), 0);
	assert_true(vfs.f_bsize > 0);
	assert_int_equal(cmfs_backend_getattr(be, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_atim.tv_sec, 1000);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(st.st_size, 5000);
	cmfs_backend_close(be);
}

static void test_xattrs_are_those_of_the_file(void **state)
{
	struct cmfs_backend *be = open_file(host_file_make("image", 'x', 5000), 0, false);
	const struct cmfs_backend_meta_ops *meta = be->ops->meta;
	char buf[64];
	int r = meta->setxattr(be, "user.cmfstest", "value", 5, 0);

	if (r == -EOPNOTSUPP) {
		cmfs_backend_close(be);
		print_message("skipped: no user xattrs here\n");
		skip();
	}
	assert_int_equal(r, 0);
	assert_int_equal(meta->getxattr(be, "user.cmfstest", buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "value", 5);
	assert_int_equal(meta->getxattr(be, "user.cmfstest", buf, 2), -ERANGE);
	assert_true(meta->listxattr(be, NULL, 0) >= (ssize_t)sizeof("user.cmfstest"));
	assert_int_equal(meta->removexattr(be, "user.cmfstest"), 0);
	assert_int_equal(meta->getxattr(be, "user.cmfstest", buf, sizeof(buf)), -ENODATA);
	cmfs_backend_close(be);
}

/* ---- the sync flag ---- */

static bool has_sync_flag(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), flags = 0;

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
	close(fd);
	return flags & FS_SYNC_FL;
}

static void test_finish_sync_while_others_write_keeps_the_flag(void **state)
{
	const char *path = host_file_make("image", 'x', 5000);

	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		struct cmfs_backend *be = can_open(mode) ? open_file(path, mode, false) : NULL;
		int reader = open(path, O_RDONLY | O_CLOEXEC), writer;

		if (!be || cmfs_backend_set_sync(be, true) < 0) {
			cmfs_backend_close(be);
			close(reader);
			skip(); /* a file system without the flag */
		}
		writer = open(path, O_WRONLY | O_CLOEXEC);
		assert_int_equal(cmfs_backend_finish_sync(be), -EBUSY);
		assert_true(has_sync_flag(path));
		cmfs_backend_close(be);
		close(writer);

		be = open_file(path, mode, false);
		assert_int_equal(cmfs_backend_finish_sync(be), 0);
		assert_false(has_sync_flag(path));
		cmfs_backend_close(be);
		close(reader);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_dir_setup, host_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_descriptors_of_each_mode_have_its_flags),
		TEST(test_reopen_to_each_mode_has_its_flags),
		TEST(test_reopen_when_the_path_leads_elsewhere_reaches_the_same_file),
		TEST(test_file_is_locked_from_its_first_opening_to_its_last),
		TEST(test_reopen_for_writing_beside_another_reader_is_refused),
		TEST(test_open_while_the_path_changes_hands_is_of_one_file),
		TEST(test_open_of_what_is_no_image_is_refused_by_name),
		TEST(test_open_without_permission_is_refused_by_name),
		TEST(test_open_where_there_is_no_direct_io_names_what_works),
		TEST(test_write_beyond_the_resource_limit_is_too_big),
		TEST(test_metadata_is_that_of_the_file),
		TEST(test_xattrs_are_those_of_the_file),
		TEST(test_finish_sync_while_others_write_keeps_the_flag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
