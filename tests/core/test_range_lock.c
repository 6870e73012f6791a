// SPDX-License-Identifier: GPL-2.0-or-later
#include "harness.h"

#include "range_lock.h"

#include <sched.h>

/* A thread that takes a range, says so, and holds it until it is told to let go. */
struct holder {
	struct thread thread;
	struct cmfs_range_lock *locks;
	uint64_t start, end;
	bool exclusive;
	atomic_bool holds, let_go;
};

static void hold(void *arg)
{
	struct holder *h = arg;
	struct cmfs_range range;

	cmfs_range_acquire(h->locks, &range, h->start, h->end, h->exclusive);
	atomic_store(&h->holds, true);
	WAIT_UNTIL(atomic_load(&h->let_go));
	cmfs_range_release(h->locks, &range);
}

static unsigned int waiting(struct cmfs_range_lock *locks)
{
	unsigned int n;

	cmfs_mutex_lock(&locks->lock);
	n = locks->waiting;
	cmfs_mutex_unlock(&locks->lock);
	return n;
}

static void holder_start(struct holder *h, struct cmfs_range_lock *locks, uint64_t start,
			 uint64_t end, bool exclusive)
{
	h->locks = locks;
	h->start = start;
	h->end = end;
	h->exclusive = exclusive;
	atomic_init(&h->holds, false);
	atomic_init(&h->let_go, false);
	thread_start(&h->thread, hold, h);
}

/* Start one more that must get its range while all others stay as they are. */
static void holder_start_passes(struct holder *h, struct cmfs_range_lock *locks, uint64_t start,
				uint64_t end, bool exclusive)
{
	unsigned int before = waiting(locks);

	holder_start(h, locks, start, end, exclusive);
	WAIT_UNTIL(atomic_load(&h->holds) || waiting(locks) > before);
	WAIT_UNTIL(atomic_load(&h->holds));
}

/* Start one more that must wait. */
static void holder_start_waits(struct holder *h, struct cmfs_range_lock *locks, uint64_t start,
			       uint64_t end, bool exclusive)
{
	unsigned int before = waiting(locks);

	holder_start(h, locks, start, end, exclusive);
	WAIT_UNTIL(atomic_load(&h->holds) || waiting(locks) > before);
	linger();
	assert_false(atomic_load(&h->holds));
}

static void holder_let_go(struct holder *h)
{
	atomic_store(&h->let_go, true);
	thread_join(&h->thread);
}

static int setup(void **state)
{
	static struct cmfs_range_lock locks;

	cmfs_range_lock_init(&locks);
	*state = &locks;
	return 0;
}

static int teardown(void **state)
{
	cmfs_range_lock_finish(*state); /* asserts that nothing is held */
	return 0;
}

static void test_shared_when_others_share_the_range_passes(void **state)
{
	struct holder a, b, c;

	holder_start_passes(&a, *state, 0, 100, false);
	holder_start_passes(&b, *state, 50, 150, false);
	holder_start_passes(&c, *state, 0, UINT64_MAX, false);
	holder_let_go(&b);
	holder_let_go(&a);
	holder_let_go(&c);
}

/* One of the two ranges exclusive, or both: the second one waits for the first. */
static void test_exclusive_when_it_overlaps_waits_for_release(void **state)
{
	static const struct {
		uint64_t start, end;
	} second[] = {
		{ 100, 200 }, { 0, 101 },   { 199, 300 },      { 150, 151 },
		{ 50, 250 },  { 100, 101 }, { 0, UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(second) * 3; i++) {
		struct holder a, b;
		size_t row = i / 3, kind = i % 3;

		holder_start_passes(&a, *state, 100, 200, kind != 0);
		holder_start_waits(&b, *state, second[row].start, second[row].end, kind != 1);
		holder_let_go(&a);
		WAIT_UNTIL(atomic_load(&b.holds));
		holder_let_go(&b);
	}
}

static void test_exclusive_when_it_only_touches_passes(void **state)
{
	struct holder a, b, c;

	holder_start_passes(&a, *state, 100, 200, true);
	holder_start_passes(&b, *state, 200, 300, true);
	holder_start_passes(&c, *state, 0, 100, true);
	holder_let_go(&a);
	holder_let_go(&b);
	holder_let_go(&c);
}

static void test_shared_when_an_exclusive_waits_before_it_does_not_overtake(void **state)
{
	struct holder holds, queued, late, elsewhere;

	holder_start_passes(&holds, *state, 0, 10, false);
	holder_start_waits(&queued, *state, 5, 15, true);
	/* In conflict with the one in the queue only, and with none that holds. */
	holder_start_waits(&late, *state, 12, 20, false);
	holder_start_passes(&elsewhere, *state, 20, 30, true);

	holder_let_go(&holds);
	WAIT_UNTIL(atomic_load(&queued.holds));
	linger();
	assert_false(atomic_load(&late.holds));
	holder_let_go(&queued);
	WAIT_UNTIL(atomic_load(&late.holds));
	holder_let_go(&late);
	holder_let_go(&elsewhere);
}

static void test_shared_when_it_conflicts_with_none_in_the_queue_passes(void **state)
{
	struct holder holds, queued, passes;

	holder_start_passes(&holds, *state, 0, 10, false);
	holder_start_waits(&queued, *state, 5, 15, true);
	holder_start_passes(&passes, *state, 0, 5, false);
	holder_let_go(&passes);
	holder_let_go(&holds);
	WAIT_UNTIL(atomic_load(&queued.holds));
	holder_let_go(&queued);
}

static void test_queue_of_exclusives_is_served_in_order(void **state)
{
	struct holder h[6];

	holder_start_passes(&h[0], *state, 0, 10, true);
	for (size_t i = 1; i < ARRAY_SIZE(h); i++)
		holder_start_waits(&h[i], *state, 0, 10, true);
	for (size_t i = 0; i < ARRAY_SIZE(h); i++) {
		WAIT_UNTIL(atomic_load(&h[i].holds));
		for (size_t j = i + 1; j < ARRAY_SIZE(h); j++)
			assert_false(atomic_load(&h[j].holds));
		holder_let_go(&h[i]);
	}
}

/*
 * Threads of the stress: each cell of a plain array belongs to who holds it. An
 * exclusive holder changes its cells, a shared one only looks, so that a wrong
 * admission shows as a torn cell, or as a data race under TSan.
 */
#define CELLS  64
#define ROUNDS 20000

struct stress {
	struct cmfs_range_lock *locks;
	uint64_t cells[CELLS];
};

struct stress_thread {
	struct thread thread;
	struct stress *shared;
	uint64_t stream, changes;
};

static void stress(void *arg)
{
	struct stress_thread *t = arg;
	uint64_t *cells = t->shared->cells;
	struct cmfs_range range;
	struct rnd rnd;

	rnd_init(&rnd, t->stream);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = rnd_below(&rnd, CELLS), len = 1 + rnd_below(&rnd, 8);
		uint64_t end = start + len < CELLS ? start + len : CELLS, before;
		bool exclusive = rnd_below(&rnd, 2) == 0;

		cmfs_range_acquire(t->shared->locks, &range, start, end, exclusive);
		before = cells[start];
		for (uint64_t c = start; exclusive && c < end; c++)
			cells[c]++;
		t->changes += exclusive ? end - start : 0;
		if (rnd_below(&rnd, 16) == 0)
			sched_yield();
		THREAD_CHECK(cells[start] == before + exclusive);
		cmfs_range_release(t->shared->locks, &range);
	}
}

static void test_stress_with_mixed_ranges_loses_no_change(void **state)
{
	struct stress shared = { .locks = *state };
	struct stress_thread threads[4];
	uint64_t changed = 0, asked = 0;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		threads[i] = (struct stress_thread){ .shared = &shared, .stream = i };
		thread_start(&threads[i].thread, stress, &threads[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		thread_join(&threads[i].thread);
		asked += threads[i].changes;
	}
	for (size_t c = 0; c < CELLS; c++)
		changed += shared.cells[c];
	assert_int_equal(changed, asked);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_shared_when_others_share_the_range_passes),
		TEST(test_exclusive_when_it_overlaps_waits_for_release),
		TEST(test_exclusive_when_it_only_touches_passes),
		TEST(test_shared_when_an_exclusive_waits_before_it_does_not_overtake),
		TEST(test_shared_when_it_conflicts_with_none_in_the_queue_passes),
		TEST(test_queue_of_exclusives_is_served_in_order),
		TEST(test_stress_with_mixed_ranges_loses_no_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
