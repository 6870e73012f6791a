// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount_helper.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

/* The command line of cmfs that one of mount(8) becomes, its words separated by '|'. */
static char *translated(struct cmfs_mount_helper *h, struct cmfs_err *err, char **argv)
{
	static char text[1024];
	int argc = 0;

	while (argv[argc])
		argc++;
	optind = 0;
	text[0] = err->msg[0] = '\0';
	if (cmfs_mount_helper_parse(argc, argv, h, err) < 0)
		return NULL;
	for (int i = 0; i < h->argc; i++) {
		strcat(text, h->argv[i]);
		strcat(text, i + 1 < h->argc ? "|" : "");
	}
	assert_null(h->argv[h->argc]);
	return text;
}

static void becomes(const char *wanted, char **argv)
{
	struct cmfs_mount_helper h;
	struct cmfs_err err;
	char *got = translated(&h, &err, argv);

	if (!got)
		print_error("%s\n", err.msg);
	assert_non_null(got);
	assert_string_equal(wanted, got);
	cmfs_mount_helper_finish(&h);
}

static void is_refused(const char *part, char **argv)
{
	struct cmfs_mount_helper h;
	struct cmfs_err err;

	assert_null(translated(&h, &err, argv));
	if (!strstr(err.msg, part))
		print_error("'%s' does not tell of '%s'\n", err.msg, part);
	assert_non_null(strstr(err.msg, part));
	cmfs_mount_helper_finish(&h);
}

static void test_name_decides(void **state)
{
	assert_true(cmfs_is_mount_helper("mount.cmfs"));
	assert_true(cmfs_is_mount_helper("/sbin/mount.cmfs"));
	assert_true(cmfs_is_mount_helper("/sbin/mount.fuse.cmfs"));
	assert_false(cmfs_is_mount_helper("/mount.cmfs/cmfs"));
	assert_false(cmfs_is_mount_helper("cmfs"));
	assert_false(cmfs_is_mount_helper("umount.cmfs"));
	assert_false(cmfs_is_mount_helper(""));
	assert_false(cmfs_is_mount_helper(NULL));
}

/* As mount(8) of util-linux 2.38 was seen to call a helper. */
static void test_lines_of_mount_are_understood(void **state)
{
	becomes("cmfs|-o|rw|--|/a/img|/mnt",
		(char *[]){ "/sbin/mount.cmfs", "/a/img", "/mnt", "-o", "rw", NULL });
	becomes("cmfs|-o|rw,cache=none,_netdev|--|nbd://h/x|/mnt",
		(char *[]){ "/sbin/mount.cmfs", "nbd://h/x", "/mnt", "-s", "-n", "-o",
			    "rw,cache=none,_netdev", NULL });
	becomes("cmfs|-o|rw|--|img|/mnt", (char *[]){ "mount.fuse.cmfs", "img", "/mnt", "-o", "rw",
						      "-t", "fuse.cmfs", NULL });
	becomes("cmfs|--|/a b,c|/m n", (char *[]){ "mount.cmfs", "/a b,c", "/m n", NULL });
	becomes("cmfs|-o|ro|-o|cache=none|--|-odd|-o",
		(char *[]){ "mount.cmfs", "-o", "ro", "-ocache=none", "--", "-odd", "-o", NULL });
}

static void test_order_is_free_for_posix_too(void **state)
{
	setenv("POSIXLY_CORRECT", "1", 1);
	becomes("cmfs|-o|rw|--|img|/mnt",
		(char *[]){ "mount.cmfs", "img", "-n", "/mnt", "-o", "rw", NULL });
	unsetenv("POSIXLY_CORRECT");
}

static void test_flags_are_seen(void **state)
{
	struct cmfs_mount_helper h;
	struct cmfs_err err;

	translated(&h, &err, (char *[]){ "mount.cmfs", "img", "/mnt", "-fv", NULL });
	assert_true(h.fake);
	assert_true(h.verbose);
	cmfs_mount_helper_finish(&h);
	translated(&h, &err, (char *[]){ "mount.cmfs", "img", "/mnt", "-sn", NULL });
	assert_false(h.fake);
	assert_false(h.verbose);
	cmfs_mount_helper_finish(&h);
}

static void test_wrong_lines_are_refused(void **state)
{
	is_refused("an image and a directory", (char *[]){ "mount.cmfs", NULL });
	is_refused("an image and a directory", (char *[]){ "mount.cmfs", "img", NULL });
	is_refused("c: one image", (char *[]){ "mount.cmfs", "a", "b", "-o", "rw", "c", NULL });
	is_refused("c: one image", (char *[]){ "mount.cmfs", "a", "--", "b", "c", NULL });
	is_refused("'-o' needs", (char *[]){ "mount.cmfs", "a", "b", "-o", NULL });
	is_refused("unknown option '-x'", (char *[]){ "mount.cmfs", "a", "b", "-x", NULL });
	is_refused("-N /proc/1/ns/mnt",
		   (char *[]){ "mount.cmfs", "a", "b", "-N", "/proc/1/ns/mnt", NULL });
	is_refused("type cmfs.raw", (char *[]){ "mount.cmfs", "a", "b", "-t", "cmfs.raw", NULL });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name_decides),
		cmocka_unit_test(test_lines_of_mount_are_understood),
		cmocka_unit_test(test_order_is_free_for_posix_too),
		cmocka_unit_test(test_flags_are_seen),
		cmocka_unit_test(test_wrong_lines_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
