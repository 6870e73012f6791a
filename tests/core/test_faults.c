// SPDX-License-Identifier: GPL-2.0-or-later
/* Fault rules in force: which operations are hit, and what is counted. */
#include "cmfs/fault.h"

#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct cmfs_faults *faults;

static int setup(void **state)
{
	faults = cmfs_faults_create();
	return faults ? 0 : -1;
}

static int teardown(void **state)
{
	cmfs_faults_unref(faults);
	return 0;
}

static void set(const char *spec)
{
	struct cmfs_fault_rules rules;
	struct cmfs_err err;

	if (cmfs_fault_parse(spec, &rules, &err) < 0)
		fail_msg("%s", err.msg);
	cmfs_faults_set(faults, &rules);
}

static int ask_at(enum cmfs_fault_op op, uint64_t off, uint64_t len)
{
	return cmfs_faults_ask(faults, op, off, len).error;
}

/* The fates of @count writes: 'x' for those that fail. */
static const char *writes(int count)
{
	static char text[128];

	for (int i = 0; i < count; i++)
		text[i] = ask_at(CMFS_FAULT_WRITE, 0, 512) ? 'x' : '.';
	text[count] = '\0';
	return text;
}

static void assert_says(const char *wanted)
{
	char text[CMFS_FAULT_TEXT_LEN];
	int n = cmfs_faults_describe(faults, text, sizeof(text));

	assert_string_equal(text, wanted);
	assert_int_equal(n, strlen(wanted));
}

static void test_without_rules_nothing_happens(void **state)
{
	for (int op = 0; op < CMFS_FAULT_OPS; op++)
		assert_int_equal(ask_at(op, 0, 1), 0);
	assert_says("none");
}

static void test_only_the_rule_s_operation_is_hit(void **state)
{
	set("write:EIO");
	for (int op = 0; op < CMFS_FAULT_OPS; op++)
		assert_int_equal(ask_at(op, 0, 1), op == CMFS_FAULT_WRITE ? -EIO : 0);
	set("any:ENXIO");
	for (int op = 0; op < CMFS_FAULT_OPS; op++)
		assert_int_equal(ask_at(op, 0, 1), -ENXIO);
	assert_says("any:ENXIO hits=9");
}

static void test_after_every_and_times_work_in_this_order(void **state)
{
	static const struct {
		const char *spec, *fates;
	} cases[] = {
		{ "write:EIO", "xxxxxxxxxxxx" },
		{ "write:EIO:after=3", "...xxxxxxxxx" },
		{ "write:EIO:once", "x..........." },
		{ "write:EIO:times=3", "xxx........." },
		{ "write:EIO:every=3", "..x..x..x..x" },
		{ "write:EIO:every=3:once", "..x........." },
		{ "write:EIO:after=2:once", "..x........." },
		{ "write:EIO:after=2:every=3", "....x..x..x." },
		{ "write:EIO:times=2:every=3:after=2", "....x..x...." },
		{ "write:EIO:rate=100%", "xxxxxxxxxxxx" },
		{ "write:EIO:after=100", "............" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s\n", cases[i].spec);
		set(cases[i].spec);
		assert_string_equal(writes(12), cases[i].fates);
	}
}

static void test_other_operations_do_not_count(void **state)
{
	set("write:EIO:after=2");
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask_at(CMFS_FAULT_READ, 0, 512), 0);
	assert_string_equal(writes(4), "..xx");
}

static void test_a_range_hits_what_touches_it(void **state)
{
	set("any:EIO:range=1K-2K");
	assert_int_equal(ask_at(CMFS_FAULT_WRITE, 0, 1024), 0);
	assert_int_equal(ask_at(CMFS_FAULT_WRITE, 0, 1025), -EIO);
	assert_int_equal(ask_at(CMFS_FAULT_WRITE, 0, 4096), -EIO);
	assert_int_equal(ask_at(CMFS_FAULT_WRITE, 1024, 1), -EIO);
	assert_int_equal(ask_at(CMFS_FAULT_READ, 2047, 1), -EIO);
	assert_int_equal(ask_at(CMFS_FAULT_READ, 2048, 512), 0);
	assert_int_equal(ask_at(CMFS_FAULT_FLUSH, 0, 0), 0);
	assert_int_equal(ask_at(CMFS_FAULT_REOPEN, 0, 0), 0);
	set("any:EIO:range=1M-");
	assert_int_equal(ask_at(CMFS_FAULT_WRITE, (1 << 20) - 1, 1), 0);
	assert_int_equal(ask_at(CMFS_FAULT_WRITE, (1 << 20) - 1, 2), -EIO);
	assert_int_equal(ask_at(CMFS_FAULT_WRITE, INT64_MAX - 1, 1), -EIO);
}

static void test_outside_its_range_a_rule_counts_nothing(void **state)
{
	set("write:EIO:range=1K-2K:after=1");
	assert_string_equal(writes(3), "...");
	assert_int_equal(ask_at(CMFS_FAULT_WRITE, 1024, 512), 0);
	assert_int_equal(ask_at(CMFS_FAULT_WRITE, 1024, 512), -EIO);
}

static void test_delays_add_up_and_the_first_error_ends_the_search(void **state)
{
	struct cmfs_fault_verdict v;

	set("write:delay=1ms+any:delay=2ms+write:ENOSPC:after=1+write:EIO+write:delay=8ms");
	v = cmfs_faults_ask(faults, CMFS_FAULT_WRITE, 0, 1);
	assert_int_equal(v.delay_us, 3000);
	assert_int_equal(v.error, -EIO);
	v = cmfs_faults_ask(faults, CMFS_FAULT_WRITE, 0, 1);
	assert_int_equal(v.delay_us, 3000);
	assert_int_equal(v.error, -ENOSPC);
	assert_says("write:delay=1ms hits=2 + any:delay=2ms hits=2 + write:ENOSPC:after=1 hits=1 + "
		    "write:EIO hits=1 + write:delay=8ms hits=0");
}

static void test_new_rules_begin_to_count_anew(void **state)
{
	set("write:EIO:once");
	assert_string_equal(writes(2), "x.");
	assert_says("write:EIO:once hits=1");
	set("write:EIO:once");
	assert_says("write:EIO:once hits=0");
	assert_string_equal(writes(2), "x.");
	cmfs_faults_set(faults, NULL);
	assert_says("none");
	assert_string_equal(writes(2), "..");
}

static void test_a_rate_hits_about_as_often_and_repeats_with_its_seed(void **state)
{
	char first[101];
	int hit = 0;

	set("write:EIO:rate=20%:seed=3");
	strcpy(first, writes(100));
	set("write:EIO:rate=20%:seed=3");
	assert_string_equal(writes(100), first);
	set("write:EIO:rate=20%:seed=4");
	assert_string_not_equal(writes(100), first);
	for (int i = 0; i < 10000; i++)
		hit += ask_at(CMFS_FAULT_WRITE, 0, 1) != 0;
	assert_in_range(hit, 1800, 2200); /* always the same number: the seed is given */
}

static void test_a_text_that_is_too_long_is_cut_and_its_length_told(void **state)
{
	char text[10];

	set("write:EIO+read:EIO");
	assert_int_equal(cmfs_faults_describe(faults, text, sizeof(text)),
			 strlen("write:EIO hits=0 + read:EIO hits=0"));
	assert_string_equal(text, "write:EIO");
}

#define THREADS 4
#define ASKS	20000

static atomic_uint hit_in_threads;

static void ask_often(void *arg)
{
	for (int i = 0; i < ASKS; i++) {
		if (ask_at(CMFS_FAULT_WRITE, 0, 512))
			atomic_fetch_add(&hit_in_threads, 1);
		if (i % 1000 == 0) {
			char text[CMFS_FAULT_TEXT_LEN];

			cmfs_faults_describe(faults, text, sizeof(text));
		}
	}
}

static void test_threads_share_the_counts(void **state)
{
	struct thread threads[THREADS];

	set("write:EIO:every=10:after=1000");
	atomic_store(&hit_in_threads, 0);
	for (int i = 0; i < THREADS; i++)
		thread_start(&threads[i], ask_often, NULL);
	for (int i = 0; i < THREADS; i++)
		thread_join(&threads[i]);
	assert_int_equal(atomic_load(&hit_in_threads), (THREADS * ASKS - 1000) / 10);
}

static void test_rules_are_replaced_while_others_ask(void **state)
{
	struct thread threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		thread_start(&threads[i], ask_often, NULL);
	for (int i = 0; i < 1000; i++) {
		set(i % 2 ? "write:EIO+read:EIO" : "any:ENOSPC:once");
		cmfs_faults_set(faults, NULL);
	}
	for (int i = 0; i < THREADS; i++)
		thread_join(&threads[i]);
	assert_says("none");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_without_rules_nothing_happens),
		CASE(test_only_the_rule_s_operation_is_hit),
		CASE(test_after_every_and_times_work_in_this_order),
		CASE(test_other_operations_do_not_count),
		CASE(test_a_range_hits_what_touches_it),
		CASE(test_outside_its_range_a_rule_counts_nothing),
		CASE(test_delays_add_up_and_the_first_error_ends_the_search),
		CASE(test_new_rules_begin_to_count_anew),
		CASE(test_a_rate_hits_about_as_often_and_repeats_with_its_seed),
		CASE(test_a_text_that_is_too_long_is_cut_and_its_length_told),
		CASE(test_threads_share_the_counts),
		CASE(test_rules_are_replaced_while_others_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
