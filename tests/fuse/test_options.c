// SPDX-License-Identifier: GPL-2.0-or-later
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#define MAX_ARGS 12

/* Parse a command line that ends with NULL; argv must outlive the options. */
static int parse(struct cmfs_options *o, struct cmfs_err *err, char *argv[MAX_ARGS])
{
	int argc = 0;

	while (argv[argc])
		argc++;
	optind = 0; /* glibc: start over */
	err->msg[0] = '\0';
	return cmfs_options_parse(argc, argv, o, err);
}

static void test_images_and_mountpoint_are_told_apart(void **state)
{
	char *argv[MAX_ARGS] = { "cmfs", "a.img", "b.img", "/mnt", NULL };
	struct cmfs_options o;
	struct cmfs_err err;

	assert_int_equal(0, parse(&o, &err, argv));
	assert_int_equal(2, o.image_count);
	assert_string_equal("a.img", o.images[0].path);
	assert_string_equal("b.img", o.images[1].path);
	assert_string_equal("/mnt", o.mountpoint);
	assert_false(o.defaults.cache_given);
	assert_int_equal(CMFS_CACHE_WRITEBACK, o.defaults.cache);
	assert_null(o.mount_options);
	cmfs_options_finish(&o);
}

static void test_options_behind_the_arguments_count_as_mount_fuse_passes_them(void **state)
{
	char *argv[MAX_ARGS] = { "cmfs", "a.img", "/mnt", "-o",	 "rw,cache=directsync,nosuid",
				 "-f",	 "-s",	  "-P",	  "pid", NULL };
	struct cmfs_options o;
	struct cmfs_err err;

	assert_int_equal(0, parse(&o, &err, argv));
	assert_int_equal(1, o.image_count);
	assert_true(o.defaults.cache_given);
	assert_int_equal(CMFS_CACHE_DIRECTSYNC, o.defaults.cache);
	assert_true(o.foreground && o.single_thread);
	assert_string_equal("pid", o.pid_file);
	assert_string_equal("rw,nosuid", o.mount_options);
	cmfs_options_finish(&o);
}

static void test_every_mode_and_its_alias_is_accepted(void **state)
{
	for (int i = 0; i < CMFS_CACHE_MODES; i++) {
		const struct cmfs_cache_props *props = cmfs_cache_props(i);
		const char *names[] = { props->name, props->alias };

		for (size_t n = 0; n < 2 && names[n]; n++) {
			char text[64];
			char *argv[MAX_ARGS] = { "cmfs", "-o", text, "a", "b", NULL };
			struct cmfs_options o;
			struct cmfs_err err;

			snprintf(text, sizeof(text), "cache=%s", names[n]);
			assert_int_equal(0, parse(&o, &err, argv));
			assert_int_equal(i, o.defaults.cache);
			cmfs_options_finish(&o);
		}
	}
}

static void test_options_of_fstab_are_swallowed(void **state)
{
	char *argv[MAX_ARGS] = { "cmfs",
				 "-o",
				 "defaults,nofail,noauto,_netdev,user,user=joe,x-systemd.automount",
				 "-o",
				 "x-gvfs-name=a b,comment=what\\, ever,cache=none",
				 "a",
				 "b",
				 NULL };
	struct cmfs_options o;
	struct cmfs_err err;

	assert_int_equal(0, parse(&o, &err, argv));
	assert_null(o.mount_options);
	assert_int_equal(CMFS_CACHE_NONE, o.defaults.cache);
	cmfs_options_finish(&o);
}

static void test_commas_and_backslashes_reach_libfuse_escaped(void **state)
{
	char *argv[MAX_ARGS] = { "cmfs", "-o", "fsname=a\\,b\\\\c,noexec", "a", "b", NULL };
	struct cmfs_options o;
	struct cmfs_err err;

	assert_int_equal(0, parse(&o, &err, argv));
	assert_string_equal("fsname=a\\,b\\\\c,noexec", o.mount_options);
	assert_true(o.fsname_given);
	cmfs_options_finish(&o);
}

static void test_ro_is_ours_and_the_kernels(void **state)
{
	char *argv[MAX_ARGS] = { "cmfs", "-o", "ro,allow_other,persist", "a", "b", NULL };
	struct cmfs_options o;
	struct cmfs_err err;

	assert_int_equal(0, parse(&o, &err, argv));
	assert_true(o.readonly && o.allow_other && o.defaults.persist);
	assert_string_equal("ro,allow_other", o.mount_options);
	cmfs_options_finish(&o);
}

static void test_faults_are_off_on_or_rules(void **state)
{
	static const struct {
		const char *text;
		bool layer;
		size_t rules;
	} cases[] = {
		{ "cache=none", false, 0 },
		{ "fault=off", false, 0 },
		{ "fault=on", true, 0 },
		{ "fault=write:EIO:after=100", true, 1 },
		{ "fault=write:EIO+flush:delay=1s", true, 2 },
		{ "fault=write:EIO,fault=on", true, 0 },
		{ "fault=write:EIO,fault=off", false, 0 },
		{ "fault=on,fixed-mode", true, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[64];
		char *argv[MAX_ARGS] = { "cmfs", "-o", text, "a", "m", NULL };
		struct cmfs_options o;
		struct cmfs_err err;

		snprintf(text, sizeof(text), "%s", cases[i].text);
		assert_int_equal(0, parse(&o, &err, argv));
		assert_int_equal(cases[i].layer, o.defaults.fault);
		assert_int_equal(cases[i].rules, o.defaults.fault_rules.count);
		assert_null(o.defaults.log_writes);
		cmfs_options_finish(&o);
	}
}

static void test_a_log_s_name_may_have_a_comma(void **state)
{
	char *argv[MAX_ARGS] = { "cmfs", "-o", "log-writes=/a\\,b,cache=none", "a", "m", NULL };
	struct cmfs_options o;
	struct cmfs_err err;

	assert_int_equal(0, parse(&o, &err, argv));
	assert_string_equal("/a,b", o.defaults.log_writes);
	cmfs_options_finish(&o);
}

static void test_sizes_are_read_with_their_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {
		{ "0", 0 },
		{ "700", 700 },
		{ "3k", 3 << 10 },
		{ "64M", 64 << 20 },
		{ "2G", UINT64_C(2) << 30 },
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char text[64];
		char *argv[MAX_ARGS] = { "cmfs", "-o", text, "a", "b", NULL };
		struct cmfs_options o;
		struct cmfs_err err;

		snprintf(text, sizeof(text), "powercut-memory=%s,powercut=on", sizes[i].text);
		assert_int_equal(0, parse(&o, &err, argv));
		assert_true(o.defaults.powercut);
		assert_int_equal(sizes[i].bytes, o.defaults.powercut_memory);
		cmfs_options_finish(&o);
	}
}

static void test_a_drive_has_its_own_keys_over_the_defaults(void **state)
{
	char *argv[MAX_ARGS] = { "cmfs",  "--drive", "file=/a,,b,cache=none,name=x",
				 "c.img", "--drive", "cache=off,readonly,file=d",
				 "/mnt",  "-o",	     "cache=unsafe,persist",
				 NULL };
	struct cmfs_options o;
	struct cmfs_err err;

	assert_int_equal(0, parse(&o, &err, argv));
	assert_int_equal(3, o.image_count);
	assert_string_equal("c.img", o.images[0].path);
	assert_int_equal(CMFS_CACHE_UNSAFE, o.images[0].cache);
	assert_false(o.images[0].readonly);
	assert_string_equal("/a,b", o.images[1].path);
	assert_string_equal("x", cmfs_image_spec_name(&o.images[1]));
	assert_int_equal(CMFS_CACHE_NONE, o.images[1].cache);
	assert_string_equal("d", cmfs_image_spec_name(&o.images[2]));
	assert_int_equal(CMFS_CACHE_NONE, o.images[2].cache);
	assert_true(o.images[2].readonly && o.images[2].persist);
	assert_string_equal("/mnt", o.mountpoint);
	cmfs_options_finish(&o);
}

/* Each wrong command line, and what its message must name. */
static const struct wrong {
	char *argv[MAX_ARGS];
	const char *named;
} wrong[] = {
	{ { "cmfs", NULL }, "no image" },
	{ { "cmfs", "only-one", NULL }, "only-one" },
	{ { "cmfs", "-o", "cache=writeBack", "a", "b", NULL }, "writeBack" },
	{ { "cmfs", "-o", "cache=", "a", "b", NULL }, "directsync" },
	{ { "cmfs", "-o", "cache", "a", "b", NULL }, "needs a value" },
	{ { "cmfs", "-o", "persist=1", "a", "b", NULL }, "persist=1" },
	{ { "cmfs", "-o", "ro,cachee=none", "a", "b", NULL }, "cachee" },
	{ { "cmfs", "-o", "max_read=4096", "a", "b", NULL }, "max_read" },
	{ { "cmfs", "-o", "powercut=yes", "a", "b", NULL }, "powercut=yes" },
	{ { "cmfs", "-o", "powercut=on,powercut-memory=1T", "a", "b", NULL }, "1T" },
	{ { "cmfs", "-o", "powercut=on,powercut-memory=-1", "a", "b", NULL }, "-1" },
	{ { "cmfs", "-o", "powercut=on,powercut-memory=", "a", "b", NULL }, "memory=" },
	{ { "cmfs", "-o", "powercut=on,powercut-memory=17179869184G", "a", "b", NULL },
	  "multiples" },
	{ { "cmfs", "-o", "powercut-memory=1M", "a", "b", NULL }, "powercut=on" },
	{ { "cmfs", "-o", "fixed-mode,powercut=on", "a", "b", NULL }, "fixed-mode" },
	{ { "cmfs", "-o", "powercut=on,passthrough=on", "a", "b", NULL }, "passthrough=on" },
	{ { "cmfs", "-o", "powercut=on,syncflag=on", "a", "b", NULL }, "syncflag=on" },
	{ { "cmfs", "-o", "fault", "a", "b", NULL }, "needs a value" },
	{ { "cmfs", "-o", "fault=", "a", "b", NULL }, "no operation" },
	{ { "cmfs", "-o", "fault=write:EIOO", "a", "b", NULL }, "EIOO" },
	{ { "cmfs", "-o", "fault=on,passthrough=on", "a", "b", NULL }, "passthrough=on" },
	{ { "cmfs", "-o", "fault=read:EIO,syncflag=on", "a", "b", NULL }, "syncflag=on" },
	{ { "cmfs", "-o", "log-writes=", "a", "b", NULL }, "FILE" },
	{ { "cmfs", "-o", "log-writes=l,ro", "a", "b", NULL }, "read-only" },
	{ { "cmfs", "-o", "log-writes=l,fixed-mode", "a", "b", NULL }, "fixed-mode" },
	{ { "cmfs", "-o", "log-writes=l,passthrough=on", "a", "b", NULL }, "passthrough=on" },
	{ { "cmfs", "-o", "log-writes=l", "a", "b", "c", NULL }, "a and b" },
	{ { "cmfs", "-o", "file=x", "a", "b", NULL }, "--drive" },
	{ { "cmfs", "-o", "name=x/y", "a", "b", NULL }, "x/y" },
	{ { "cmfs", "-o", "ro", "--drive", "file=x,readonly=off", "b", NULL }, "readonly=off" },
	{ { "cmfs", "--drive", "cache=none", "b", NULL }, "file=" },
	{ { "cmfs", "--drive", "file=x,cache=non", "b", NULL }, "cache=non" },
	{ { "cmfs", "--drive", "file=x,cachee=none", "b", NULL }, "cachee" },
	{ { "cmfs", "--drive", "file=x,name=a/b", "b", NULL }, "a/b" },
	{ { "cmfs", "--drive", "file=x", NULL }, "mountpoint" },
	{ { "cmfs", "a", "b", "--drive", NULL }, "--drive" },
	{ { "cmfs", "-z", "a", "b", NULL }, "-z" },
	{ { "cmfs", "--verbose", "a", "b", NULL }, "--verbose" },
	{ { "cmfs", "a", "b", "-P", NULL }, "-P" },
	{ { "cmfs", "a", "b", "-o", NULL }, "-o" },
};

static void test_wrong_command_lines_name_what_is_wrong(void **state)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char *argv[MAX_ARGS];
		struct cmfs_options o;
		struct cmfs_err err;

		memcpy(argv, wrong[i].argv, sizeof(argv));
		assert_int_equal(-EINVAL, parse(&o, &err, argv));
		if (!strstr(err.msg, wrong[i].named))
			fail_msg("'%s' does not name '%s'", err.msg, wrong[i].named);
		cmfs_options_finish(&o);
	}
}

static void test_help_and_version_need_no_arguments(void **state)
{
	char *help[MAX_ARGS] = { "cmfs", "--help", NULL }, *version[MAX_ARGS] = { "cmfs", "-V" };
	struct cmfs_options o;
	struct cmfs_err err;

	assert_int_equal(0, parse(&o, &err, help));
	assert_true(o.help);
	cmfs_options_finish(&o);
	assert_int_equal(0, parse(&o, &err, version));
	assert_true(o.version);
	cmfs_options_finish(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_images_and_mountpoint_are_told_apart),
		cmocka_unit_test(test_options_behind_the_arguments_count_as_mount_fuse_passes_them),
		cmocka_unit_test(test_every_mode_and_its_alias_is_accepted),
		cmocka_unit_test(test_options_of_fstab_are_swallowed),
		cmocka_unit_test(test_commas_and_backslashes_reach_libfuse_escaped),
		cmocka_unit_test(test_ro_is_ours_and_the_kernels),
		cmocka_unit_test(test_faults_are_off_on_or_rules),
		cmocka_unit_test(test_a_log_s_name_may_have_a_comma),
		cmocka_unit_test(test_sizes_are_read_with_their_units),
		cmocka_unit_test(test_a_drive_has_its_own_keys_over_the_defaults),
		cmocka_unit_test(test_wrong_command_lines_name_what_is_wrong),
		cmocka_unit_test(test_help_and_version_need_no_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
