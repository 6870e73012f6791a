// SPDX-License-Identifier: GPL-2.0-or-later
/* The policy against an explicit table: each mode, each operation, each demand. */
#include "harness.h"

#include "policy.h"

/* What each mode demands (rows as in PROMISES, columns as in policy.h). */
struct expected {
	enum cmfs_cache_mode mode;
	enum cmfs_durability write[3]; /* by what the application asked for (P4) */
	bool flush_after_change;       /* P1 */
	bool flush_when_switched_to;   /* P7 */
};

/* clang-format off */
static const struct expected table[] = {
	{ CMFS_CACHE_WRITEBACK,
	  { CMFS_VOLATILE,     CMFS_DURABLE_DATA, CMFS_DURABLE_ALL }, false, true },
	{ CMFS_CACHE_NONE,
	  { CMFS_VOLATILE,     CMFS_DURABLE_DATA, CMFS_DURABLE_ALL }, false, true },
	{ CMFS_CACHE_WRITETHROUGH,
	  { CMFS_DURABLE_DATA, CMFS_DURABLE_DATA, CMFS_DURABLE_ALL }, true,  true },
	{ CMFS_CACHE_DIRECTSYNC,
	  { CMFS_DURABLE_DATA, CMFS_DURABLE_DATA, CMFS_DURABLE_ALL }, true,  true },
	{ CMFS_CACHE_UNSAFE,
	  { CMFS_VOLATILE,     CMFS_VOLATILE,     CMFS_VOLATILE },    false, false },
};
/* clang-format on */

static const enum cmfs_durability asked[] = { CMFS_VOLATILE, CMFS_DURABLE_DATA, CMFS_DURABLE_ALL };

static void test_write_in_each_mode_for_each_demand_is_as_the_table(void **state)
{
	assert_int_equal(ARRAY_SIZE(table), CMFS_CACHE_MODES);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct cmfs_cache_props *props = cmfs_cache_props(table[i].mode);

		for (size_t j = 0; j < ARRAY_SIZE(asked); j++)
			assert_int_equal(cmfs_policy_write(props, asked[j]), table[i].write[j]);
	}
}

static void test_change_in_each_mode_is_as_the_table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct cmfs_cache_props *props = cmfs_cache_props(table[i].mode);

		assert_int_equal(cmfs_policy_change(props), table[i].flush_after_change);
	}
}

static void test_switch_to_each_mode_is_as_the_table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct cmfs_cache_props *props = cmfs_cache_props(table[i].mode);

		assert_int_equal(cmfs_policy_switch(props), table[i].flush_when_switched_to);
	}
}

static void test_write_when_the_mode_honours_flushes_is_never_weaker_than_asked(void **state)
{
	/* Any row, not only those there are today. */
	for (int bits = 0; bits < 4; bits++) {
		const struct cmfs_cache_props props = {
			.name = "any", .direct = bits & 1, .dsync = bits & 2, .flush = true
		};

		for (size_t j = 0; j < ARRAY_SIZE(asked); j++) {
			enum cmfs_durability given = cmfs_policy_write(&props, asked[j]);

			assert_true(given >= asked[j]);
			assert_true(!props.dsync || given >= CMFS_DURABLE_DATA);
			assert_true(props.dsync || given == asked[j]);
		}
	}
}

static void test_policy_does_not_depend_on_direct(void **state)
{
	for (int bits = 0; bits < 4; bits++) {
		struct cmfs_cache_props cached = { .name = "any" }, direct;

		cached.dsync = bits & 1;
		cached.flush = bits & 2;
		direct = cached;
		direct.direct = true;
		for (size_t j = 0; j < ARRAY_SIZE(asked); j++)
			assert_int_equal(cmfs_policy_write(&cached, asked[j]),
					 cmfs_policy_write(&direct, asked[j]));
		assert_int_equal(cmfs_policy_change(&cached), cmfs_policy_change(&direct));
		assert_int_equal(cmfs_policy_switch(&cached), cmfs_policy_switch(&direct));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_in_each_mode_for_each_demand_is_as_the_table),
		cmocka_unit_test(test_change_in_each_mode_is_as_the_table),
		cmocka_unit_test(test_switch_to_each_mode_is_as_the_table),
		cmocka_unit_test(
			test_write_when_the_mode_honours_flushes_is_never_weaker_than_asked),
		cmocka_unit_test(test_policy_does_not_depend_on_direct),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
