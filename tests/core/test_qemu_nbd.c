// SPDX-License-Identifier: GPL-2.0-or-later
/* qemu-nbd without its image's content: that is what the mount tests format-* are about. */
#include "host_file.h"
#include "qemu_nbd.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_what_it_printed_becomes_one_line_of_ours(void **state)
{
	static const struct {
		const char *output, *line;
	} cases[] = {
		{ "", "" },
		{ "\n", "" },
		{ "a line\n", "a line" },
		{ "qemu-nbd: a line", "a line" },
		{ "qemu-nbd: Failed to blk_new_open 'opts': Image is not in qcow2 format\n",
		  "Image is not in qcow2 format" },
		{ "qemu-nbd: Failed to blk_new_open 'other': no\n",
		  "Failed to blk_new_open 'other': no" },
		{ "qemu-nbd: Failed to blk_new_open 'opts': no\nwhat now\n", "no; what now" },
		{ "a\nb\nc", "a; b; c" },
	};
	char line[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cmfs_qemu_nbd_explain(cases[i].output, "opts", line, sizeof(line));
		assert_string_equal(line, cases[i].line);
	}
	for (size_t size = 1; size < 12; size++) {
		memset(line, 'x', sizeof(line));
		cmfs_qemu_nbd_explain("qemu-nbd: abc\nabc", "opts", line, size);
		assert_memory_equal(line, "abc; abc", strlen(line));
		assert_int_equal(strlen(line), size < 9 ? size - 1 : 8);
		assert_int_equal(line[size], 'x');
	}
}

static int start(const char *path, struct cmfs_qemu_nbd **ret, struct cmfs_err *err)
{
	const struct cmfs_qemu_nbd_spec spec = { .path = path, .format = CMFS_FORMAT_QCOW2 };

	return cmfs_qemu_nbd_start(&spec, &(struct cmfs_open_how){ 0 }, ret, err);
}

static void test_one_that_is_not_installed_is_named_with_its_package(void **state)
{
	const char *path = host_file_make("image", 0, 4096);
	size_t descriptors = host_descriptors();
	char *old = strdup(getenv("PATH"));
	struct cmfs_qemu_nbd *nbd;
	struct cmfs_err err;

	setenv("PATH", "/nowhere", 1);
	assert_int_equal(start(path, &nbd, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "qemu-utils"));
	setenv("PATH", old, 1);
	free(old);
	assert_int_equal(host_descriptors(), descriptors);
}

static void test_one_that_cannot_open_its_image_says_why(void **state)
{
	const char *path = host_file_make("image", 0, 4096);
	size_t descriptors = host_descriptors();
	struct cmfs_qemu_nbd *nbd;
	struct cmfs_err err = { "" };

	if (system("qemu-nbd --version >/dev/null 2>&1") != 0)
		skip();
	assert_int_equal(start(path, &nbd, &err), 0);
	cmfs_qemu_nbd_wait(nbd);
	while (!cmfs_qemu_nbd_has_ended(nbd))
		;
	cmfs_qemu_nbd_kill(nbd, &err);
	assert_string_equal(err.msg, "qemu-nbd: Image is not in qcow2 format");
	assert_int_equal(host_descriptors(), descriptors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_printed_becomes_one_line_of_ours),
		cmocka_unit_test(test_one_that_is_not_installed_is_named_with_its_package),
		cmocka_unit_test(test_one_that_cannot_open_its_image_says_why),
	};

	return cmocka_run_group_tests(tests, host_dir_setup, host_dir_teardown);
}
