// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmfs/image_spec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct cmfs_image_spec parse(const char *text)
{
	struct cmfs_image_spec spec = CMFS_IMAGE_SPEC_INITIALIZER;
	struct cmfs_err err;

	if (cmfs_image_spec_parse(&spec, text, &err) < 0)
		fail_msg("'%s': %s", text, err.msg);
	return spec;
}

/* Commas as in QEMU: between keys, and doubled in values. */
static void test_commas_and_equal_signs_in_values(void **state)
{
	static const struct {
		const char *text, *path, *name;
	} cases[] = {
		{ "file=a", "a", "a" },
		{ "file=/x/a", "/x/a", "a" },
		{ "file=a,,b", "a,b", "a,b" },
		{ "file=a,,,name=b", "a,", "b" },
		{ "file=,,a", ",a", ",a" },
		{ ",file=a,,,,b,", "a,,b", "a,,b" },
		{ "name=x=y,file=p=q", "p=q", "x=y" },
		{ "file=a,file=b", "b", "b" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cmfs_image_spec spec = parse(cases[i].text);

		assert_string_equal(cases[i].path, spec.path);
		assert_string_equal(cases[i].name, cmfs_image_spec_name(&spec));
		cmfs_image_spec_finish(&spec);
	}
}

/* Each key that the help shows is one, wants a value unless it can be on, and is told. */
static void test_each_key_is_known_and_named_when_its_value_is_wrong(void **state)
{
	const struct cmfs_image_key *key;
	size_t i;

	for (i = 0; (key = cmfs_image_key(i)); i++) {
		struct cmfs_image_spec spec = CMFS_IMAGE_SPEC_INITIALIZER;
		bool on_off = strcmp(key->arg, "ON|OFF") == 0;
		struct cmfs_err err;

		assert_int_equal(cmfs_image_spec_set(&spec, key->name, NULL, &err),
				 on_off ? 0 : -EINVAL);
		if (!on_off)
			assert_non_null(strstr(err.msg, key->name));
		if (on_off) {
			assert_int_equal(cmfs_image_spec_set(&spec, key->name, "x", &err), -EINVAL);
			assert_non_null(strstr(err.msg, key->name));
			assert_non_null(strstr(err.msg, "off, on"));
		}
		cmfs_image_spec_finish(&spec);
	}
	assert_true(i > 5);
}

static void test_a_bare_switch_is_on_and_can_be_off_again(void **state)
{
	struct cmfs_image_spec spec = parse("file=a,readonly,powercut=on,persist,persist=off");

	assert_true(spec.readonly && spec.powercut);
	assert_false(spec.persist);
	cmfs_image_spec_finish(&spec);
}

static void test_a_copy_has_strings_of_its_own(void **state)
{
	struct cmfs_image_spec spec = parse("file=a,name=b,log-writes=c,cache=none"), copy;

	assert_int_equal(cmfs_image_spec_copy(&spec, &copy), 0);
	cmfs_image_spec_finish(&spec);
	assert_string_equal("a", copy.path);
	assert_string_equal("b", copy.name);
	assert_string_equal("c", copy.log_writes);
	assert_true(copy.cache_given && copy.cache == CMFS_CACHE_NONE);
	cmfs_image_spec_finish(&copy);
	assert_null(copy.path);
}

static void test_what_is_wrong_is_told_with_the_text_that_has_it(void **state)
{
	static const char *const wrong[][2] = {
		{ "", "file=PATH is missing" },	       { "cache=none", "file=PATH is missing" },
		{ "file", "'file' needs a value" },    { "file=", "'file' needs a value" },
		{ "file=a,=b", "no key ''" },	       { "file=a,b", "no key 'b'" },
		{ "file=a,cache=", "cache=" },	       { "file=a,fault=wirte:EIO", "wirte" },
		{ "file=a,powercut-memory=1x", "1x" },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct cmfs_image_spec spec = CMFS_IMAGE_SPEC_INITIALIZER;
		struct cmfs_err err;

		assert_int_equal(cmfs_image_spec_parse(&spec, wrong[i][0], &err), -EINVAL);
		assert_non_null(strstr(err.msg, "--drive "));
		if (!strstr(err.msg, wrong[i][1]))
			fail_msg("'%s' does not say '%s'", err.msg, wrong[i][1]);
		cmfs_image_spec_finish(&spec);
	}
}

static void test_contradictions_are_refused(void **state)
{
	static const char *const wrong[] = {
		"file=a,name=.",
		"file=a,name=..",
		"file=a,name=b/c",
		"file=a,log-writes=l,readonly",
		"file=a,syncflag=on,fault=on",
		"file=a,syncflag=on,powercut=on",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct cmfs_image_spec spec = parse(wrong[i]);
		struct cmfs_err err = { "" };

		assert_int_equal(cmfs_image_spec_check(&spec, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "a: "));
		cmfs_image_spec_finish(&spec);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commas_and_equal_signs_in_values),
		cmocka_unit_test(test_each_key_is_known_and_named_when_its_value_is_wrong),
		cmocka_unit_test(test_a_bare_switch_is_on_and_can_be_off_again),
		cmocka_unit_test(test_a_copy_has_strings_of_its_own),
		cmocka_unit_test(test_what_is_wrong_is_told_with_the_text_that_has_it),
		cmocka_unit_test(test_contradictions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
