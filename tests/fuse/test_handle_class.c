// SPDX-License-Identifier: GPL-2.0-or-later
/* The class of a handle, walked over all of its inputs. */
#include "handle_class.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

static void test_class_of_each_mode_is_as_wanted(void **state)
{
	static const enum cmfs_handle_class wanted[CMFS_CACHE_MODES] = {
		[CMFS_CACHE_WRITEBACK] = CMFS_HANDLE_CACHED,
		[CMFS_CACHE_NONE] = CMFS_HANDLE_DIRECT,
		[CMFS_CACHE_WRITETHROUGH] = CMFS_HANDLE_CACHED,
		[CMFS_CACHE_DIRECTSYNC] = CMFS_HANDLE_DIRECT,
		[CMFS_CACHE_UNSAFE] = CMFS_HANDLE_CACHED,
	};

	for (int i = 0; i < CMFS_CACHE_MODES; i++)
		assert_int_equal(wanted[i], cmfs_handle_class_choose(cmfs_cache_props(i)));
}

static void test_flags_never_cache_what_is_direct(void **state)
{
	struct cmfs_handle_flags cached = cmfs_handle_class_flags(CMFS_HANDLE_CACHED);
	struct cmfs_handle_flags direct = cmfs_handle_class_flags(CMFS_HANDLE_DIRECT);

	assert_true(cached.keep_cache);
	assert_false(cached.direct_io);
	assert_false(cached.parallel_direct_writes);
	assert_true(direct.direct_io);
	assert_true(direct.parallel_direct_writes);
	assert_false(direct.keep_cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_class_of_each_mode_is_as_wanted),
		cmocka_unit_test(test_flags_never_cache_what_is_direct),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
