// SPDX-License-Identifier: GPL-2.0-or-later
/* The mode table against the table in PROMISES. */
#include "harness.h"

#include "cmfs/image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
static const struct {
	enum cmfs_cache_mode mode;
	const char *name, *alias;
	bool direct, dsync, flush;
} promised[] = {
	{ CMFS_CACHE_WRITEBACK,    "writeback",    NULL,  false, false, true },
	{ CMFS_CACHE_NONE,         "none",         "off", true,  false, true },
	{ CMFS_CACHE_WRITETHROUGH, "writethrough", NULL,  false, true,  true },
	{ CMFS_CACHE_DIRECTSYNC,   "directsync",   NULL,  true,  true,  true },
	{ CMFS_CACHE_UNSAFE,       "unsafe",       NULL,  false, false, false },
};
/* clang-format on */

static void test_props_of_every_mode_are_as_promised(void **state)
{
	assert_int_equal(ARRAY_SIZE(promised), CMFS_CACHE_MODES);
	for (size_t i = 0; i < ARRAY_SIZE(promised); i++) {
		const struct cmfs_cache_props *props = cmfs_cache_props(promised[i].mode);

		assert_string_equal(props->name, promised[i].name);
		if (promised[i].alias)
			assert_string_equal(props->alias, promised[i].alias);
		else
			assert_null(props->alias);
		assert_int_equal(props->direct, promised[i].direct);
		assert_int_equal(props->dsync, promised[i].dsync);
		assert_int_equal(props->flush, promised[i].flush);
	}
}

static void test_default_when_zeroed_is_writeback(void **state)
{
	enum cmfs_cache_mode mode = 0;

	assert_string_equal(cmfs_cache_props(mode)->name, "writeback");
}

static void test_parse_when_given_each_name_finds_its_mode(void **state)
{
	enum cmfs_cache_mode mode;

	for (size_t i = 0; i < ARRAY_SIZE(promised); i++) {
		mode = CMFS_CACHE_MODES;
		assert_int_equal(cmfs_cache_mode_parse(promised[i].name, &mode), 0);
		assert_int_equal(mode, promised[i].mode);
		if (!promised[i].alias)
			continue;
		mode = CMFS_CACHE_MODES;
		assert_int_equal(cmfs_cache_mode_parse(promised[i].alias, &mode), 0);
		assert_int_equal(mode, promised[i].mode);
	}
}

static void test_parse_when_given_no_mode_leaves_ret_untouched(void **state)
{
	static const char *const wrong[] = {
		"",	     " ",	 "NONE",	"None",	    "OFF",	 "on",
		"WRITEBACK", "write",	 "writebackx",	"writebac", " none",	 "none ",
		"none\n",    "none,off", "write-back",	"dsync",    "direct",	 "default",
		"0",	     "unsafe\t", "direct sync", "nonenone", "writethru",
	};
	enum cmfs_cache_mode mode;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		for (int before = 0; before <= CMFS_CACHE_MODES; before++) {
			mode = (enum cmfs_cache_mode)before;
			assert_int_equal(cmfs_cache_mode_parse(wrong[i], &mode), -EINVAL);
			assert_int_equal(mode, before);
		}
	}
}

static void test_mode_names_are_the_tables_names_in_order(void **state)
{
	char names[256] = "";

	for (int mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		size_t len = strlen(names);

		snprintf(names + len, sizeof(names) - len, "%s%s", mode > 0 ? ", " : "",
			 cmfs_cache_props((enum cmfs_cache_mode)mode)->name);
	}
	assert_string_equal(names, CMFS_CACHE_MODE_NAMES);
}

static void test_open_how_of_every_mode_is_the_tables(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(promised); i++) {
		for (int readonly = 0; readonly <= 1; readonly++) {
			struct cmfs_open_how how =
				cmfs_image_open_how(promised[i].mode, readonly != 0);

			assert_int_equal(how.readonly, readonly);
			assert_int_equal(how.direct, promised[i].direct);
			assert_int_equal(how.dsync, promised[i].dsync);
		}
	}
}

static void test_only_unsafe_ignores_flushes(void **state)
{
	for (int mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		const struct cmfs_cache_props *props = cmfs_cache_props((enum cmfs_cache_mode)mode);

		assert_int_equal(props->flush, mode != CMFS_CACHE_UNSAFE);
		/* A mode that makes each write durable, yet ignores flushes, is none. */
		assert_true(props->flush || !props->dsync);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_props_of_every_mode_are_as_promised),
		cmocka_unit_test(test_default_when_zeroed_is_writeback),
		cmocka_unit_test(test_parse_when_given_each_name_finds_its_mode),
		cmocka_unit_test(test_parse_when_given_no_mode_leaves_ret_untouched),
		cmocka_unit_test(test_mode_names_are_the_tables_names_in_order),
		cmocka_unit_test(test_open_how_of_every_mode_is_the_tables),
		cmocka_unit_test(test_only_unsafe_ignores_flushes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
