// SPDX-License-Identifier: GPL-2.0-or-later
/* What a server says, and what follows from it: each combination of what counts. */
#include "harness.h"

#include "nbd_caps.h"

#include "cmfs/image.h"

#include <errno.h>
#include <string.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)

/* By the mode's letter, (b) writeback, (n)one, write(t)hrough, (d)irectsync, (u)nsafe. */
static const char letters[] = {
	[CMFS_CACHE_WRITEBACK] = 'b',  [CMFS_CACHE_NONE] = 'n',	  [CMFS_CACHE_WRITETHROUGH] = 't',
	[CMFS_CACHE_DIRECTSYNC] = 'd', [CMFS_CACHE_UNSAFE] = 'u',
};

static void test_plan_for_each_mode_and_server_is_as_the_table(void **state)
{
	static const struct {
		bool readonly, flush, fua; /* the server's words */
		const char *writable;	   /* the modes it can give */
		struct cmfs_nbd_plan plan;
	} table[] = {
		{ false, false, false, "u", { CMFS_FUA_FLUSH, false, false } },
		{ false, false, true, "bntdu", { CMFS_FUA_NATIVE, true, false } },
		{ false, true, false, "bntdu", { CMFS_FUA_FLUSH, false, true } },
		{ false, true, true, "bntdu", { CMFS_FUA_NATIVE, false, true } },
		{ true, false, false, "", { 0 } },
		{ true, false, true, "", { 0 } },
		{ true, true, false, "", { 0 } },
		{ true, true, true, "", { 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct cmfs_nbd_caps caps = { .readonly = table[i].readonly,
						    .flush = table[i].flush,
						    .fua = table[i].fua };

		for (int mode = 0; mode < CMFS_CACHE_MODES; mode++) {
			struct cmfs_open_how how = cmfs_image_open_how(mode, false);
			bool can = strchr(table[i].writable, letters[mode]);
			struct cmfs_nbd_plan plan = { 0 };
			struct cmfs_err err = { "" };
			int r = cmfs_nbd_make_plan(&caps, &how, &plan, &err);

			assert_int_equal(r, can ? 0 : caps.readonly ? -EROFS : -EOPNOTSUPP);
			assert_int_equal(can, err.msg[0] == '\0');
			if (can) {
				assert_int_equal(plan.fua, table[i].plan.fua);
				assert_int_equal(plan.always_fua, table[i].plan.always_fua);
				assert_int_equal(plan.send_flush, table[i].plan.send_flush);
			}
			/* Who only reads needs nothing. */
			how.readonly = true;
			assert_int_equal(cmfs_nbd_make_plan(&caps, &how, &plan, &err), 0);
			assert_false(plan.always_fua || plan.send_flush);
		}
	}
}

static void test_refusal_names_the_flags_and_what_works(void **state)
{
	const struct cmfs_nbd_caps nothing = { 0 }, readonly = { .readonly = true, .flush = true };
	const struct cmfs_open_how how = { 0 };
	struct cmfs_nbd_plan plan;
	struct cmfs_err err;

	assert_int_equal(cmfs_nbd_make_plan(&nothing, &how, &plan, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "NBD_FLAG_SEND_FLUSH"));
	assert_non_null(strstr(err.msg, "NBD_FLAG_SEND_FUA"));
	assert_non_null(strstr(err.msg, "cache=unsafe"));
	assert_int_equal(cmfs_nbd_make_plan(&readonly, &how, &plan, &err), -EROFS);
	assert_non_null(strstr(err.msg, "-o ro"));
}

static void test_geometry_is_what_the_server_says_or_what_old_ones_mean(void **state)
{
	static const struct {
		struct cmfs_nbd_caps caps;
		uint32_t align, max; /* 0: refused */
	} cases[] = {
		{ { .size = MIB }, 512, 32 * MIB },
		{ { .size = MIB + 1 }, 1, 32 * MIB },
		{ { .size = MIB, .block_status = true }, 1, 32 * MIB },
		{ { .size = 0 }, 512, 32 * MIB },
		{ { .size = MIB, .min_block = 1 }, 1, 32 * MIB },
		{ { .size = MIB, .min_block = 4096, .max_payload = MIB }, 4096, MIB },
		{ { .size = MIB, .min_block = 65536 }, 65536, 32 * MIB },
		{ { .size = MIB, .min_block = 4096, .max_payload = 4096 }, 4096, 4096 },
		{ { .size = MIB, .min_block = 4096, .max_payload = 10000 }, 4096, 8192 },
		{ { .size = MIB, .min_block = 512, .max_payload = UINT32_MAX }, 512, 32 * MIB },
		{ { .size = MIB, .min_block = 131072 }, 0, 0 },
		{ { .size = MIB, .min_block = 3 }, 0, 0 },
		{ { .size = MIB + 512, .min_block = 4096 }, 0, 0 },
		{ { .size = MIB, .min_block = 4096, .max_payload = 512 }, 0, 0 },
		{ { .size = UINT64_MAX - 511, .min_block = 512 }, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cmfs_geometry geo;
		struct cmfs_err err = { "" };
		uint32_t max;
		int r = cmfs_nbd_make_geometry(&cases[i].caps, &geo, &max, &err);

		assert_int_equal(r, cases[i].align ? 0 : -EINVAL);
		assert_int_equal(r == 0, err.msg[0] == '\0');
		if (r < 0)
			continue;
		assert_int_equal(geo.align, cases[i].align);
		assert_int_equal(geo.exact_block, cases[i].align);
		assert_int_equal(max, cases[i].max);
		assert_true(geo.fixed_size);
	}
}

static void test_another_export_is_not_taken_for_the_same(void **state)
{
	const struct cmfs_nbd_caps then = {
		.size = MIB, .flush = true, .fua = true, .min_block = 1
	};
	struct cmfs_nbd_caps now = then;

	assert_true(cmfs_nbd_same_export(&then, &now));
	now.zero = now.block_status = now.multi_conn = true; /* more is no harm */
	assert_true(cmfs_nbd_same_export(&then, &now));
	assert_false(cmfs_nbd_same_export(&now, &then)); /* less is */

#define CHANGED(field, value)                                                                      \
	now = then;                                                                                \
	now.field = value;                                                                         \
	assert_false(cmfs_nbd_same_export(&then, &now))
	CHANGED(size, MIB + 1);
	CHANGED(readonly, true);
	CHANGED(flush, false);
	CHANGED(fua, false);
	CHANGED(min_block, 512);
	CHANGED(max_payload, 512);
#undef CHANGED
}

#define DATA	    0
#define HOLE	    3 /* unallocated, and zeroes */
#define ZERO	    2 /* allocated zeroes: as good as a hole */
#define UNALLOCATED 1 /* may read as anything */

static void test_extents_are_searched_for_what_is_asked(void **state)
{
	static const struct {
		uint32_t entries[8];
		size_t count;
		enum cmfs_seek whence;
		int r;
		uint64_t found; /* from 1000 on */
	} cases[] = {
		{ { 10, DATA, 20, HOLE }, 4, CMFS_SEEK_DATA, 1, 1000 },
		{ { 10, DATA, 20, HOLE }, 4, CMFS_SEEK_HOLE, 1, 1010 },
		{ { 10, HOLE, 20, DATA }, 4, CMFS_SEEK_DATA, 1, 1010 },
		{ { 10, HOLE, 20, DATA }, 4, CMFS_SEEK_HOLE, 1, 1000 },
		{ { 10, HOLE, 20, ZERO, 5, DATA }, 6, CMFS_SEEK_DATA, 1, 1030 },
		{ { 10, DATA, 20, ZERO }, 4, CMFS_SEEK_HOLE, 1, 1010 },
		{ { 10, UNALLOCATED, 20, ZERO }, 4, CMFS_SEEK_DATA, 1, 1000 },
		{ { 10, UNALLOCATED, 20, ZERO }, 4, CMFS_SEEK_HOLE, 1, 1010 },
		{ { 10, HOLE, 20, HOLE }, 4, CMFS_SEEK_DATA, 0, 1030 },
		{ { 10, DATA }, 2, CMFS_SEEK_HOLE, 0, 1010 },
		{ { 0, HOLE, 10, DATA }, 4, CMFS_SEEK_HOLE, 0, 1010 },
		{ { 0 }, 0, CMFS_SEEK_HOLE, -EIO, 0 },
		{ { 0, DATA }, 2, CMFS_SEEK_DATA, -EIO, 0 }, /* would not get on */
		{ { 10, HOLE, 20 }, 3, CMFS_SEEK_DATA, 0, 1010 },
		{ { UINT32_MAX, HOLE, UINT32_MAX, HOLE, 1, DATA },
		  6,
		  CMFS_SEEK_DATA,
		  1,
		  1000 + 2 * (uint64_t)UINT32_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct cmfs_nbd_extents extents = { cases[i].entries, cases[i].count };
		uint64_t found;
		int r = cmfs_nbd_seek_extents(&extents, cases[i].whence, 1000, &found);

		assert_int_equal(r, cases[i].r);
		if (r >= 0)
			assert_int_equal(found, cases[i].found);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plan_for_each_mode_and_server_is_as_the_table),
		cmocka_unit_test(test_refusal_names_the_flags_and_what_works),
		cmocka_unit_test(test_geometry_is_what_the_server_says_or_what_old_ones_mean),
		cmocka_unit_test(test_another_export_is_not_taken_for_the_same),
		cmocka_unit_test(test_extents_are_searched_for_what_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
