// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which requests keep each other out (P9): one is stopped half way, another one
 * comes, and either waits or passes.
 */
#include "harness.h"

#include "align_util.h"
#include "mem_hold.h"

enum kind {
	WRITE,
	READ,
	TRUNCATE,
	PUNCH,
};

struct request {
	enum kind kind;
	uint64_t off;
	size_t len;

	struct thread thread;
	struct align_disk *d;
};

static int send_request(const struct request *q)
{
	static const char zeroes[8192] __attribute__((aligned(4096)));
	struct align_disk *d = q->d;
	char buf[8192];
	size_t got;

	switch (q->kind) {
	case WRITE:
		return align_disk_write(d, zeroes, q->len, q->off);
	case READ:
		return cmfs_align_read(d->be, buf, q->len, q->off, &got);
	case TRUNCATE:
		return align_disk_truncate(d, q->off);
	case PUNCH:
		return cmfs_align_allocate(d->be, &d->locks, CMFS_ALLOC_PUNCH, true, q->off,
					   q->len);
	}
	return -1;
}

static void run_request(void *arg)
{
	THREAD_CHECK(send_request(arg) == 0);
}

/* Where a first request is stopped. */
struct stop {
	uint64_t size; /* the content's */
	struct request first;
	enum mem_op op;
	enum mem_stage stage;
};

static void check_meeting(const struct stop *stop, const struct request *other, bool waits)
{
	struct mem_hold hold = MEM_HOLD_INITIALIZER;
	const struct mem_config config = { .direct = { 512, 512, 4096 },
					   .fua = CMFS_FUA_NATIVE,
					   .size = stop->size,
					   .hook = mem_hold_hook,
					   .hook_arg = &hold };
	struct request first = stop->first, second = *other;
	struct align_disk d;

	align_disk_open(&d, &config);
	first.d = second.d = &d;
	mem_hold_arm(&hold, stop->op, stop->stage);
	thread_start(&first.thread, run_request, &first);
	mem_hold_wait(&hold);

	thread_start(&second.thread, run_request, &second);
	WAIT_UNTIL(thread_done(&second.thread) || align_disk_waiting(&d) > 0);
	if (waits)
		linger();
	assert_int_equal(thread_done(&second.thread), !waits);
	mem_hold_release(&hold);
	thread_join(&first.thread);
	thread_join(&second.thread);
	align_disk_close(&d);
}

static void check_waits(const struct stop *stop, const struct request *others, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check_meeting(stop, &others[i], true);
}

static void check_passes(const struct stop *stop, const struct request *others, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check_meeting(stop, &others[i], false);
}

/* A read-modify-write of the block at 512, which has read and not yet written. */
static const struct stop modify = { 16384, { WRITE, 600, 10 }, MEM_READ, MEM_AFTER };

static void test_changes_of_a_block_being_modified_wait(void **state)
{
	static const struct request others[] = {
		{ WRITE, 700, 10 }, { WRITE, 512, 512 }, { WRITE, 0, 8192 },  { WRITE, 1, 8000 },
		{ PUNCH, 900, 10 }, { TRUNCATE, 700 },	 { TRUNCATE, 20000 },
	};

	check_waits(&modify, others, ARRAY_SIZE(others));
}

static void test_others_beside_a_block_being_modified_pass(void **state)
{
	static const struct request others[] = {
		{ READ, 600, 10 },    { READ, 0, 8192 },     { WRITE, 4096, 512 },
		{ WRITE, 4100, 10 },  { PUNCH, 4096, 999 },  { WRITE, 20000, 5 },
		{ WRITE, 8192, 512 }, { WRITE, 16384, 512 },
	};

	check_passes(&modify, others, ARRAY_SIZE(others));
}

static void test_changes_of_the_last_of_many_blocks_being_modified_wait(void **state)
{
	static const struct stop stop = { 16384, { WRITE, 600, 8000 }, MEM_READ, MEM_AFTER };
	static const struct request others[] = { { WRITE, 8608, 8 },
						 { WRITE, 8192, 512 },
						 { PUNCH, 8610, 1 } };

	check_waits(&stop, others, ARRAY_SIZE(others));
}

/* An append, stopped while it holds a copy of 4096-8191. */
static const struct stop append = { 5000, { WRITE, 5000, 10 }, MEM_WRITE_EXACT, MEM_INSIDE };

static void test_changes_near_an_exact_write_wait(void **state)
{
	static const struct request others[] = {
		{ WRITE, 4096, 512 }, { WRITE, 7680, 512 }, { WRITE, 8000, 10 },
		{ PUNCH, 4097, 1 },   { TRUNCATE, 0 },	    { TRUNCATE, 8192 },
	};

	check_waits(&append, others, ARRAY_SIZE(others));
}

static void test_others_outside_an_exact_writes_reach_pass(void **state)
{
	static const struct request others[] = {
		{ WRITE, 3584, 512 }, { WRITE, 8192, 512 }, { WRITE, 3000, 10 },
		{ WRITE, 9000, 10 },  { READ, 4096, 4096 }, { PUNCH, 0, 4096 },
	};

	check_passes(&append, others, ARRAY_SIZE(others));
}

/* A write of whole blocks, on its way. */
static const struct stop whole = { 16384, { WRITE, 512, 1024 }, MEM_WRITE, MEM_BEFORE };

static void test_whole_blocks_when_they_overlap_share(void **state)
{
	static const struct request others[] = {
		{ WRITE, 512, 1024 }, { WRITE, 1024, 1024 }, { WRITE, 0, 512 }, { READ, 513, 700 }
	};

	check_passes(&whole, others, ARRAY_SIZE(others));
}

static void test_other_changes_of_whole_blocks_being_written_wait(void **state)
{
	static const struct request others[] = {
		{ WRITE, 1100, 10 }, { PUNCH, 600, 10 }, { TRUNCATE, 1000 }, { TRUNCATE, 0 }
	};

	check_waits(&whole, others, ARRAY_SIZE(others));
}

/* A truncate on its way: any change might depend on where the end is. */
static void test_changes_beside_a_truncate_wait(void **state)
{
	static const struct stop stop = { 16384, { TRUNCATE, 1000 }, MEM_TRUNCATE, MEM_BEFORE };
	static const struct request others[] = {
		{ WRITE, 0, 10 }, { WRITE, 8192, 512 }, { WRITE, 100000, 10 }, { PUNCH, 5, 5 }
	};

	check_waits(&stop, others, ARRAY_SIZE(others));
}

static void test_modifications_of_a_block_being_punched_wait(void **state)
{
	static const struct stop stop = { 16384, { PUNCH, 600, 10 }, MEM_ALLOCATE, MEM_BEFORE };
	static const struct request others[] = { { WRITE, 700, 10 }, { WRITE, 512, 512 } };

	check_waits(&stop, others, ARRAY_SIZE(others));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes_of_a_block_being_modified_wait),
		cmocka_unit_test(test_others_beside_a_block_being_modified_pass),
		cmocka_unit_test(test_changes_of_the_last_of_many_blocks_being_modified_wait),
		cmocka_unit_test(test_changes_near_an_exact_write_wait),
		cmocka_unit_test(test_others_outside_an_exact_writes_reach_pass),
		cmocka_unit_test(test_whole_blocks_when_they_overlap_share),
		cmocka_unit_test(test_other_changes_of_whole_blocks_being_written_wait),
		cmocka_unit_test(test_changes_beside_a_truncate_wait),
		cmocka_unit_test(test_modifications_of_a_block_being_punched_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
