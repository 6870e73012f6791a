// SPDX-License-Identifier: GPL-2.0-or-later
/* Where an image's mode comes from (image_spec.h), on real files. */
#include "harness.h"
#include "host_file.h"

#include "cmfs/image_spec.h"
#include "host_aio.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

static struct cmfs_image *open_image(const struct cmfs_image_spec *spec)
{
	struct cmfs_image *image = NULL;
	struct cmfs_err err = { "" };

	if (cmfs_image_open(spec, &image, &err) < 0)
		fail_msg("%s", err.msg);
	return image;
}

static void store(const char *path, const char *value, size_t len)
{
	if (setxattr(path, CMFS_CACHE_XATTR, value, len, 0) == 0)
		return;
	print_message("skipped: no user xattrs in the test directory (see CMFS_TEST_DIR)\n");
	skip();
}

/* What is stored on the file is @expected; NULL: nothing is. */
static void check_stored(const char *path, const char *expected)
{
	char value[256];
	ssize_t len = getxattr(path, CMFS_CACHE_XATTR, value, sizeof(value));

	if (!expected) {
		assert_int_equal(len, -1);
		assert_int_equal(errno, ENODATA);
		return;
	}
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(value, expected, len);
}

static bool can_open(enum cmfs_cache_mode mode)
{
	return !cmfs_cache_props(mode)->direct || host_has_direct();
}

static void test_open_when_nothing_is_said_is_writeback(void **state)
{
	struct cmfs_image_spec spec = { .path = host_file_make("image", 'x', 100) };
	struct cmfs_image *image = open_image(&spec);

	assert_int_equal(cmfs_image_cache(image), CMFS_CACHE_WRITEBACK);
	assert_false(cmfs_image_cache_is_stored(image));
	assert_false(cmfs_image_readonly(image));
	assert_int_equal(cmfs_image_close(image), 0);
	check_stored(spec.path, NULL);
}

static void test_open_when_a_mode_is_stored_takes_it_unless_one_is_given(void **state)
{
	struct cmfs_image_spec spec = { .path = host_file_make("image", 'x', 100) };
	struct cmfs_image *image;

	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		const char *name = cmfs_cache_props(mode)->name;

		if (!can_open(mode))
			continue;
		store(spec.path, name, strlen(name));
		for (int readonly = 0; readonly <= 1; readonly++) {
			spec.readonly = readonly;
			spec.cache_given = false;
			image = open_image(&spec);
			assert_int_equal(cmfs_image_cache(image), mode);
			assert_true(cmfs_image_cache_is_stored(image));
			assert_int_equal(cmfs_image_readonly(image), readonly);
			assert_int_equal(cmfs_image_close(image), 0);

			spec.cache_given = true;
			spec.cache = CMFS_CACHE_WRITETHROUGH;
			image = open_image(&spec);
			assert_int_equal(cmfs_image_cache(image), CMFS_CACHE_WRITETHROUGH);
			assert_false(cmfs_image_cache_is_stored(image));
			assert_int_equal(cmfs_image_close(image), 0);
		}
		check_stored(spec.path, name);
	}
}

static void test_open_when_no_mode_is_stored_is_refused_by_name(void **state)
{
	static const struct {
		const char *value;
		size_t len;
	} wrong[] = {
		{ "fast", 4 },
		{ "", 0 },
		{ "none\n", 5 },
		{ "none", 5 },
		{ "NONE", 4 },
		{ "n", 1 },
		{ "a value that is longer than any mode's name could ever come to be", 65 },
	};
	struct cmfs_image_spec spec = { .path = host_file_make("image", 'x', 100) };
	struct cmfs_image *untouched = (struct cmfs_image *)&spec, *image = untouched;
	const size_t descriptors = host_descriptors();
	struct cmfs_err err;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		store(spec.path, wrong[i].value, wrong[i].len);
		spec.cache_given = false;
		err.msg[0] = '\0';
		assert_int_equal(cmfs_image_open(&spec, &image, &err), -EINVAL);
		assert_ptr_equal(image, untouched);
		assert_non_null(strstr(err.msg, spec.path));
		assert_non_null(strstr(err.msg, CMFS_CACHE_XATTR));
		assert_non_null(strstr(err.msg, CMFS_CACHE_MODE_NAMES));
		assert_int_equal(host_descriptors(), descriptors);

		/* A mode that is given makes it no matter. */
		spec.cache_given = true;
		assert_int_equal(cmfs_image_close(open_image(&spec)), 0);
	}
}

static void test_open_of_a_missing_file_is_refused_by_name(void **state)
{
	struct cmfs_image_spec spec = { .path = host_path("missing") };
	struct cmfs_image *image;
	struct cmfs_err err = { "" };

	assert_int_equal(cmfs_image_open(&spec, &image, &err), -ENOENT);
	assert_non_null(strstr(err.msg, spec.path));
}

static void test_change_when_persistent_is_stored_until_reverted(void **state)
{
	struct cmfs_image_spec spec = { .path = host_file_make("image", 'x', 100),
					.persist = true };
	struct cmfs_image *image;

	store(spec.path, "unsafe", 6);
	image = open_image(&spec);
	assert_int_equal(cmfs_image_cache(image), CMFS_CACHE_UNSAFE);
	assert_int_equal(cmfs_image_change_cache(image, CMFS_CACHE_WRITETHROUGH, NULL), 0);
	assert_int_equal(cmfs_image_cache(image), CMFS_CACHE_WRITETHROUGH);
	check_stored(spec.path, "writethrough");
	assert_int_equal(cmfs_image_close(image), 0);

	image = open_image(&spec);
	assert_int_equal(cmfs_image_cache(image), CMFS_CACHE_WRITETHROUGH);
	assert_int_equal(cmfs_image_revert_cache(image, NULL), 0);
	assert_int_equal(cmfs_image_cache(image), CMFS_CACHE_WRITEBACK);
	check_stored(spec.path, NULL);
	/* Nothing to revert is no error. */
	assert_int_equal(cmfs_image_revert_cache(image, NULL), 0);
	assert_int_equal(cmfs_image_close(image), 0);
}

static void test_change_when_not_persistent_is_forgotten(void **state)
{
	struct cmfs_image_spec spec = { .path = host_file_make("image", 'x', 100) };
	struct cmfs_image *image;

	store(spec.path, "unsafe", 6);
	image = open_image(&spec);
	assert_int_equal(cmfs_image_change_cache(image, CMFS_CACHE_WRITETHROUGH, NULL), 0);
	check_stored(spec.path, "unsafe");
	assert_int_equal(cmfs_image_revert_cache(image, NULL), 0);
	assert_int_equal(cmfs_image_cache(image), CMFS_CACHE_UNSAFE);
	check_stored(spec.path, "unsafe");

	/* Where one is given, that is where it goes back to. */
	assert_int_equal(cmfs_image_close(image), 0);
	spec.cache_given = true;
	spec.cache = CMFS_CACHE_WRITEBACK;
	image = open_image(&spec);
	assert_int_equal(cmfs_image_change_cache(image, CMFS_CACHE_WRITETHROUGH, NULL), 0);
	assert_int_equal(cmfs_image_revert_cache(image, NULL), 0);
	assert_int_equal(cmfs_image_cache(image), CMFS_CACHE_WRITEBACK);
	assert_int_equal(cmfs_image_close(image), 0);
}

/* Each mode and way: opened and switched to if it can be had, and else nothing has changed. */
static void test_native_aio_is_for_direct_modes_only(void **state)
{
	struct cmfs_image_spec spec = { .path = host_file_make("image", 'x', 100),
					.persist = true };
	struct cmfs_image *image;

	for (int i = 0; i < CMFS_CACHE_MODES * CMFS_AIOS; i++) {
		enum cmfs_cache_mode mode = i % CMFS_CACHE_MODES;
		enum cmfs_aio aio = i / CMFS_CACHE_MODES;
		bool wanted = aio != CMFS_AIO_NATIVE || cmfs_cache_props(mode)->direct;
		size_t descriptors;
		struct cmfs_err err = { "" };

		if (!can_open(mode) || !can_open(CMFS_CACHE_NONE) ||
		    cmfs_host_aio_check(aio, "aio", NULL) < 0)
			continue;
		spec.host.aio = aio;
		spec.cache_given = true;
		spec.cache = mode;
		descriptors = host_descriptors();
		assert_int_equal(cmfs_image_open(&spec, &image, &err), wanted ? 0 : -EINVAL);
		if (wanted) {
			assert_int_equal(cmfs_image_close(image), 0);
		} else {
			assert_non_null(strstr(err.msg, spec.path));
			assert_non_null(strstr(err.msg, "aio=native"));
			assert_non_null(strstr(err.msg, "cache=none and cache=directsync"));
			assert_int_equal(host_descriptors(), descriptors);
		}
		spec.cache = CMFS_CACHE_NONE;
		image = open_image(&spec);
		store(spec.path, "none", 4);
		assert_int_equal(cmfs_image_change_cache(image, mode, &err), wanted ? 0 : -EINVAL);
		assert_int_equal(cmfs_image_cache(image), wanted ? mode : CMFS_CACHE_NONE);
		check_stored(spec.path, wanted ? cmfs_cache_props(mode)->name : "none");
		assert_int_equal(cmfs_image_close(image), 0);

		/* A stored mode is seen before the decision. */
		spec.cache_given = false;
		store(spec.path, cmfs_cache_props(mode)->name,
		      strlen(cmfs_cache_props(mode)->name));
		assert_int_equal(cmfs_image_open(&spec, &image, NULL), wanted ? 0 : -EINVAL);
		if (wanted)
			assert_int_equal(cmfs_image_close(image), 0);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_dir_setup, host_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_open_when_nothing_is_said_is_writeback),
		TEST(test_open_when_a_mode_is_stored_takes_it_unless_one_is_given),
		TEST(test_open_when_no_mode_is_stored_is_refused_by_name),
		TEST(test_open_of_a_missing_file_is_refused_by_name),
		TEST(test_change_when_persistent_is_stored_until_reverted),
		TEST(test_change_when_not_persistent_is_forgotten),
		TEST(test_native_aio_is_for_direct_modes_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
