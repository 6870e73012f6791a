// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading fault rules: every operation, key and error; what is wrong is named. */
#include "cmfs/fault.h"

#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct cmfs_fault_rules rules;
static struct cmfs_err err;

static const struct cmfs_fault_rule *one(const char *spec)
{
	assert_int_equal(cmfs_fault_parse(spec, &rules, &err), 0);
	assert_int_equal(rules.count, 1);
	assert_string_equal(rules.rule[0].text, spec);
	return &rules.rule[0];
}

static void test_every_operation_has_a_bit_of_its_own_and_any_has_all(void **state)
{
	static const char *const names[] = {
		[CMFS_FAULT_READ] = "read",	    [CMFS_FAULT_WRITE] = "write",
		[CMFS_FAULT_FLUSH] = "flush",	    [CMFS_FAULT_TRUNCATE] = "truncate",
		[CMFS_FAULT_ALLOCATE] = "allocate", [CMFS_FAULT_PUNCH] = "punch",
		[CMFS_FAULT_ZERO] = "zero",	    [CMFS_FAULT_SEEK] = "seek",
		[CMFS_FAULT_REOPEN] = "reopen",
	};

	assert_int_equal(ARRAY_SIZE(names), CMFS_FAULT_OPS);
	for (int i = 0; i < CMFS_FAULT_OPS; i++) {
		char spec[64];

		snprintf(spec, sizeof(spec), "%s:EIO", names[i]);
		assert_int_equal(one(spec)->ops, 1U << i);
	}
	assert_int_equal(one("any:EIO")->ops, (1U << CMFS_FAULT_OPS) - 1);
}

static void test_a_rule_without_keys_hits_always_and_everywhere(void **state)
{
	const struct cmfs_fault_rule *r = one("write:EIO");

	assert_int_equal(r->error, -EIO);
	assert_int_equal(r->delay_us, 0);
	assert_int_equal(r->range_start, 0);
	assert_true(r->range_end == UINT64_MAX);
	assert_int_equal(r->after, 0);
	assert_int_equal(r->every, 1);
	assert_int_equal(r->times, 0);
	assert_int_equal(r->rate, CMFS_FAULT_RATE_ALWAYS);
}

static void test_errors_are_known_by_name(void **state)
{
	assert_int_equal(one("write:ENOSPC")->error, -ENOSPC);
	assert_int_equal(one("write:EFBIG")->error, -EFBIG);
	assert_int_equal(one("write:EDQUOT")->error, -EDQUOT);
	assert_int_equal(one("write:EROFS")->error, -EROFS);
	assert_int_equal(one("punch:EOPNOTSUPP")->error, -EOPNOTSUPP);
	assert_int_equal(one("reopen:EREMOTEIO")->error, -EREMOTEIO);
}

static void test_every_key_sets_its_field(void **state)
{
	const struct cmfs_fault_rule *r;

	assert_int_equal(one("read:delay=50ms")->delay_us, 50000);
	assert_int_equal(one("read:delay=100us")->delay_us, 100);
	assert_int_equal(one("read:delay=2s")->delay_us, 2000000);
	assert_int_equal(one("read:delay=3600s")->delay_us, UINT64_C(3600000000));
	assert_int_equal(one("read:EIO:after=100")->after, 100);
	assert_int_equal(one("read:EIO:after=0")->after, 0);
	assert_int_equal(one("read:EIO:every=10")->every, 10);
	assert_int_equal(one("read:EIO:times=3")->times, 3);
	assert_int_equal(one("read:EIO:once")->times, 1);
	assert_int_equal(one("read:EIO:rate=10%")->rate, 100000);
	assert_int_equal(one("read:EIO:rate=0.5%")->rate, 5000);
	assert_int_equal(one("read:EIO:rate=0.0001%")->rate, 1);
	assert_int_equal(one("read:EIO:rate=100%")->rate, CMFS_FAULT_RATE_ALWAYS);
	assert_int_equal(one("read:EIO:rate=1%:seed=7")->seed, 7);
	r = one("read:EIO:range=1M-2M");
	assert_int_equal(r->range_start, 1 << 20);
	assert_int_equal(r->range_end, 2 << 20);
	r = one("any:EIO:range=4G-");
	assert_true(r->range_start == UINT64_C(4) << 30 && r->range_end == UINT64_MAX);
	r = one("truncate:EIO:range=0-1");
	assert_true(r->range_start == 0 && r->range_end == 1);
	r = one("seek:EIO:range=1k-1T");
	assert_true(r->range_start == 1024 && r->range_end == UINT64_C(1) << 40);
}

static void test_keys_come_in_any_order_and_an_error_and_a_delay_go_together(void **state)
{
	const struct cmfs_fault_rule *r = one("write:every=2:delay=1ms:after=3:ENOSPC:once");

	assert_int_equal(r->error, -ENOSPC);
	assert_int_equal(r->delay_us, 1000);
	assert_int_equal(r->after, 3);
	assert_int_equal(r->every, 2);
	assert_int_equal(r->times, 1);
}

static void test_rules_are_kept_in_their_order(void **state)
{
	assert_int_equal(cmfs_fault_parse("write:EIO+flush:delay=1s+read:ENXIO:once", &rules, NULL),
			 0);
	assert_int_equal(rules.count, 3);
	assert_string_equal(rules.rule[1].text, "flush:delay=1s");
	assert_int_equal(rules.rule[2].error, -ENXIO);
}

static void test_what_is_wrong_is_named_with_what_works(void **state)
{
	static const struct {
		const char *spec, *says[3];
	} cases[] = {
		{ "", { "''", "no operation", "read write flush" } },
		{ "wirte:EIO", { "'wirte:EIO'", "'wirte'", "truncate allocate punch" } },
		{ "Write:EIO", { "'Write'", "no operation" } },
		{ "write", { "'write'", "needs an error", "delay=" } },
		{ "write:", { "'write:'", "''", "after=" } },
		{ "write:after=1", { "needs an error", "delay=" } },
		{ "write:EWHAT", { "'EWHAT'", "ENOSPC", "once" } },
		{ "write:eio", { "'eio'", "EIO" } },
		{ "write:5", { "'5'", "neither" } },
		{ "write:EIO=1", { "'EIO=1'", "neither" } },
		{ "write:EIO:ENOSPC", { "'ENOSPC'", "another of its kind" } },
		{ "write:EIO:after=1:after=2", { "'after=2'", "another of its kind" } },
		{ "write:EIO:once:times=2", { "'times=2'", "another of its kind" } },
		{ "write:EIO:after", { "'after'", "needs a value", "100" } },
		{ "write:EIO:once=1", { "'once=1'", "takes no value" } },
		{ "write:EIO:after=", { "'after='", "like 100" } },
		{ "write:EIO:after=-1", { "'after=-1'", "like 100" } },
		{ "write:EIO:after=1x", { "'after=1x'" } },
		{ "write:EIO:after= 1", { "'after= 1'" } },
		{ "write:EIO:after=9223372036854775808", { "cannot be" } },
		{ "write:EIO:after=99999999999999999999", { "cannot be" } },
		{ "write:EIO:every=0", { "'every=0'", "like 10" } },
		{ "write:EIO:times=0", { "'times=0'", "like 3" } },
		{ "write:delay=50", { "'delay=50'", "50ms" } },
		{ "write:delay=0s", { "'delay=0s'", "50ms" } },
		{ "write:delay=3601s", { "'delay=3601s'", "an hour" } },
		{ "write:delay=1.5s", { "'delay=1.5s'" } },
		{ "write:EIO:range=1M", { "'range=1M'", "1M-2M" } },
		{ "write:EIO:range=-1M", { "'range=-1M'", "1M-2M" } },
		{ "write:EIO:range=2M-1M", { "'range=2M-1M'", "1M-2M" } },
		{ "write:EIO:range=1M-1M", { "'range=1M-1M'" } },
		{ "write:EIO:range=1Q-2Q", { "'range=1Q-2Q'" } },
		{ "write:EIO:range=9999999T-", { "'range=9999999T-'" } },
		{ "flush:EIO:range=1M-2M", { "touch no range" } },
		{ "reopen:EIO:range=0-1", { "touch no range" } },
		{ "write:EIO:rate=10", { "'rate=10'", "10%" } },
		{ "write:EIO:rate=0%", { "'rate=0%'", "10%" } },
		{ "write:EIO:rate=100.0001%", { "'rate=100.0001%'" } },
		{ "write:EIO:rate=101%", { "'rate=101%'" } },
		{ "write:EIO:rate=99999999999999%", { "cannot be" } },
		{ "write:EIO:rate=0.00001%", { "cannot be" } },
		{ "write:EIO:rate=5.%", { "cannot be" } },
		{ "write:EIO:rate=%", { "cannot be" } },
		{ "write:EIO:seed=1", { "seed= is for rate=" } },
		{ "write:EIO+", { "''", "no operation" } },
		{ "write:EIO+flush:EIOO", { "'flush:EIOO'", "'EIOO'" } },
		{ "write:EIO++read:EIO", { "''", "no operation" } },
		{ "write:EIO,read:EIO", { "'EIO,read'", "neither" } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cmfs_fault_rules untouched = { .count = 7 };

		print_message("%s\n", cases[i].spec);
		err.msg[0] = '\0';
		assert_int_equal(cmfs_fault_parse(cases[i].spec, &untouched, &err), -EINVAL);
		assert_int_equal(untouched.count, 7);
		for (size_t w = 0; w < 3 && cases[i].says[w]; w++) {
			if (!strstr(err.msg, cases[i].says[w]))
				fail_msg("%s: %s", err.msg, cases[i].says[w]);
		}
	}
}

static void test_too_many_rules_and_too_long_ones_are_refused(void **state)
{
	char spec[4096] = "";
	char text[CMFS_FAULT_TEXT_LEN];
	struct cmfs_faults *faults = cmfs_faults_create();

	for (int i = 0; i < CMFS_FAULT_RULES_MAX; i++) {
		size_t n = strlen(spec);

		/* Of the greatest length that there is. */
		snprintf(spec + n, sizeof(spec) - n, "%swrite:EIO:after=%0*d", i ? "+" : "",
			 CMFS_FAULT_RULE_LEN - 1 - (int)strlen("write:EIO:after="), 0);
	}
	assert_int_equal(cmfs_fault_parse(spec, &rules, &err), 0);
	assert_int_equal(rules.count, CMFS_FAULT_RULES_MAX);
	cmfs_faults_set(faults, &rules);
	assert_true((size_t)cmfs_faults_describe(faults, text, sizeof(text)) < sizeof(text));
	cmfs_faults_unref(faults);

	strcat(spec, "+read:EIO");
	assert_int_equal(cmfs_fault_parse(spec, &rules, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "more than 16"));

	snprintf(spec, sizeof(spec), "write:EIO:after=%0*d",
		 CMFS_FAULT_RULE_LEN - (int)strlen("write:EIO:after="), 0);
	assert_int_equal(cmfs_fault_parse(spec, &rules, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "longer than 127"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_operation_has_a_bit_of_its_own_and_any_has_all),
		cmocka_unit_test(test_a_rule_without_keys_hits_always_and_everywhere),
		cmocka_unit_test(test_errors_are_known_by_name),
		cmocka_unit_test(test_every_key_sets_its_field),
		cmocka_unit_test(test_keys_come_in_any_order_and_an_error_and_a_delay_go_together),
		cmocka_unit_test(test_rules_are_kept_in_their_order),
		cmocka_unit_test(test_what_is_wrong_is_named_with_what_works),
		cmocka_unit_test(test_too_many_rules_and_too_long_ones_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
