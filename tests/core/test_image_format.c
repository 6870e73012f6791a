// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of formats, against images that qemu-img has made (where it is there) and
 * against what only looks like one.
 */
#include "cmfs/image_format.h"
#include "host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static enum cmfs_format probe(const char *head, size_t head_len, const char *tail, size_t tail_len)
{
	struct cmfs_format_ends ends = { .head_len = head_len, .tail_len = tail_len };

	memcpy(ends.head, head, head_len);
	memcpy(ends.tail, tail, tail_len);
	return cmfs_format_probe(&ends);
}

static enum cmfs_format probe_file(const char *path)
{
	struct cmfs_format_ends ends;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	off_t tail;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	tail = st.st_size > CMFS_FORMAT_PROBE_SIZE ? st.st_size - CMFS_FORMAT_PROBE_SIZE : 0;
	ends.head_len = pread(fd, ends.head, sizeof(ends.head), 0);
	ends.tail_len = pread(fd, ends.tail, sizeof(ends.tail), tail);
	close(fd);
	return cmfs_format_probe(&ends);
}

/* qemu-img's own names, and the variants that look different. */
static void test_images_of_qemu_img_are_what_they_are(void **state)
{
	static const struct {
		const char *options;
		enum cmfs_format format;
	} cases[] = {
		{ "-f raw", CMFS_FORMAT_RAW },
		{ "-f qcow2", CMFS_FORMAT_QCOW2 },
		{ "-f qcow2 -o compat=0.10", CMFS_FORMAT_QCOW2 },
		{ "-f qcow", CMFS_FORMAT_QCOW },
		{ "-f qed", CMFS_FORMAT_QED },
		{ "-f vmdk", CMFS_FORMAT_VMDK },
		{ "-f vmdk -o compat6", CMFS_FORMAT_VMDK },
		{ "-f vmdk -o subformat=streamOptimized", CMFS_FORMAT_VMDK },
		{ "-f vmdk -o subformat=monolithicFlat", CMFS_FORMAT_VMDK },
		{ "-f vdi", CMFS_FORMAT_VDI },
		{ "-f vdi -o static=on", CMFS_FORMAT_VDI },
		{ "-f vhdx", CMFS_FORMAT_VHDX },
		{ "-f vpc", CMFS_FORMAT_VPC },
		{ "-f vpc -o subformat=fixed", CMFS_FORMAT_VPC },
		{ "-f parallels", CMFS_FORMAT_PARALLELS },
	};
	char command[PATH_MAX + 256];

	if (system("qemu-img --version >/dev/null 2>&1") != 0)
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *path = host_path("disk");

		snprintf(command, sizeof(command), "qemu-img create -q %s '%s' 8M",
			 cases[i].options, path);
		assert_int_equal(system(command), 0);
		if (probe_file(path) != cases[i].format)
			fail_msg("%s: taken for %s", cases[i].options,
				 cmfs_format_names[probe_file(path)]);
		unlink(path);
	}
}

/* Those that qemu-img makes no more, or not quickly. */
static void test_other_magics_are_known(void **state)
{
	assert_int_equal(probe("COWD", 4, "", 0), CMFS_FORMAT_VMDK);
	assert_int_equal(probe("LUKS\xba\xbe\0\1", 8, "", 0), CMFS_FORMAT_LUKS);
	assert_int_equal(probe("LUKS\xba\xbe\0\2", 8, "", 0), CMFS_FORMAT_LUKS);
	assert_int_equal(probe("WithoutFreeSpace", 16, "", 0), CMFS_FORMAT_PARALLELS);
}

/* A magic that is cut short by the end of the image, or stands elsewhere, is none. */
static void test_what_only_begins_like_one_is_raw(void **state)
{
	static const char zeroes[CMFS_FORMAT_PROBE_SIZE];
	char moved[CMFS_FORMAT_PROBE_SIZE] = "";

	assert_int_equal(probe("", 0, "", 0), CMFS_FORMAT_RAW);
	assert_int_equal(probe(zeroes, sizeof(zeroes), zeroes, sizeof(zeroes)), CMFS_FORMAT_RAW);
	assert_int_equal(probe("QFI\xfb", 4, "", 0), CMFS_FORMAT_RAW);
	assert_int_equal(probe("QFI\xfb\0\0\0\4", 8, "", 0), CMFS_FORMAT_RAW);
	assert_int_equal(probe("KDM", 3, "", 0), CMFS_FORMAT_RAW);
	memcpy(moved + 1, "QFI\xfb\0\0\0\3", 8);
	assert_int_equal(probe(moved, sizeof(moved), zeroes, sizeof(zeroes)), CMFS_FORMAT_RAW);
	memcpy(moved, "KDMV", 4); /* the footer of a disk is that of a fixed VHD only */
	assert_int_equal(probe(zeroes, sizeof(zeroes), moved, sizeof(moved)), CMFS_FORMAT_RAW);
	memcpy(moved, "conectix", 8);
	assert_int_equal(probe(zeroes, sizeof(zeroes), moved, sizeof(moved)), CMFS_FORMAT_VPC);
}

static void test_every_format_has_a_name(void **state)
{
	for (int i = 0; i < CMFS_FORMATS; i++)
		assert_non_null(cmfs_format_names[i]);
	assert_null(cmfs_format_names[CMFS_FORMATS]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_images_of_qemu_img_are_what_they_are),
		cmocka_unit_test(test_other_magics_are_known),
		cmocka_unit_test(test_what_only_begins_like_one_is_raw),
		cmocka_unit_test(test_every_format_has_a_name),
	};

	return cmocka_run_group_tests(tests, host_dir_setup, host_dir_teardown);
}
