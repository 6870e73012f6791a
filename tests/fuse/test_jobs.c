// SPDX-License-Identifier: GPL-2.0-or-later
#include "jobs.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#define JOBS 50

static atomic_int started, ended;
static atomic_bool go;

static void work(void *arg)
{
	atomic_fetch_add(&started, 1);
	while (!atomic_load(&go))
		sched_yield();
	atomic_fetch_add(&ended, 1);
}

static void test_stop_waits_for_all_and_starts_no_more(void **state)
{
	struct cmfs_jobs jobs;

	cmfs_jobs_init(&jobs);
	for (int i = 0; i < JOBS; i++)
		assert_int_equal(0, cmfs_jobs_start(&jobs, work, NULL));
	/* Each has its own thread: one that waits holds up no other. */
	while (atomic_load(&started) < JOBS)
		sched_yield();
	assert_int_equal(0, atomic_load(&ended));
	atomic_store(&go, true);
	cmfs_jobs_stop(&jobs);
	assert_int_equal(JOBS, atomic_load(&ended));
	assert_int_equal(-ESHUTDOWN, cmfs_jobs_start(&jobs, work, NULL));
	cmfs_jobs_stop(&jobs);
	cmfs_jobs_finish(&jobs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stop_waits_for_all_and_starts_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
