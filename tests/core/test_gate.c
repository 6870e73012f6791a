// SPDX-License-Identifier: GPL-2.0-or-later
#include "harness.h"

#include "gate.h"

#include <sched.h>

/* What the state's parts are: see gate.c. */
static bool is_closed(struct cmfs_gate *gate)
{
	return atomic_load(&gate->state) & 1;
}

static uint64_t inside(struct cmfs_gate *gate)
{
	return atomic_load(&gate->state) / 2;
}

static uint64_t waiting(struct cmfs_gate *gate)
{
	uint64_t n;

	cmfs_mutex_lock(&gate->lock);
	n = gate->waiting;
	cmfs_mutex_unlock(&gate->lock);
	return n;
}

/* A thread that enters, says so, and leaves when it is told to. */
struct visitor {
	struct thread thread;
	struct cmfs_gate *gate;
	atomic_bool entered, leave;
};

static void visit(void *arg)
{
	struct visitor *v = arg;

	cmfs_gate_enter(v->gate);
	atomic_store(&v->entered, true);
	WAIT_UNTIL(atomic_load(&v->leave));
	cmfs_gate_leave(v->gate);
}

static void visitor_start(struct visitor *v, struct cmfs_gate *gate)
{
	v->gate = gate;
	atomic_init(&v->entered, false);
	atomic_init(&v->leave, false);
	thread_start(&v->thread, visit, v);
}

static void visitor_leave(struct visitor *v)
{
	atomic_store(&v->leave, true);
	thread_join(&v->thread);
}

static void close_gate(void *arg)
{
	cmfs_gate_close(arg);
}

static int setup(void **state)
{
	static struct cmfs_gate gate;

	cmfs_gate_init(&gate);
	*state = &gate;
	return 0;
}

static int teardown(void **state)
{
	cmfs_gate_finish(*state);
	return 0;
}

static void test_enter_when_open_admits_any_number(void **state)
{
	struct visitor v[4];

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		visitor_start(&v[i], *state);
		WAIT_UNTIL(atomic_load(&v[i].entered));
		assert_int_equal(inside(*state), i + 1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		visitor_leave(&v[i]);
	assert_int_equal(inside(*state), 0);
}

static void test_close_when_nobody_is_inside_returns_at_once(void **state)
{
	for (int i = 0; i < 1000; i++) {
		cmfs_gate_close(*state);
		cmfs_gate_open(*state);
	}
	cmfs_gate_enter(*state);
	cmfs_gate_leave(*state);
}

static void test_close_when_some_are_inside_waits_for_the_last(void **state)
{
	struct cmfs_gate *gate = *state;
	struct visitor v[3];
	struct thread closer;

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		visitor_start(&v[i], gate);
		WAIT_UNTIL(atomic_load(&v[i].entered));
	}
	thread_start(&closer, close_gate, gate);
	WAIT_UNTIL(is_closed(gate));
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		linger();
		assert_false(thread_done(&closer));
		visitor_leave(&v[i]);
	}
	thread_join(&closer);
	assert_int_equal(inside(gate), 0);
	cmfs_gate_open(gate);
}

static void test_enter_when_closed_waits_for_the_opening(void **state)
{
	struct cmfs_gate *gate = *state;
	struct visitor v[3];

	cmfs_gate_close(gate);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		visitor_start(&v[i], gate);
	WAIT_UNTIL(waiting(gate) == ARRAY_SIZE(v));
	linger();
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		assert_false(atomic_load(&v[i].entered));
	cmfs_gate_open(gate);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		WAIT_UNTIL(atomic_load(&v[i].entered));
		visitor_leave(&v[i]);
	}
}

static void test_enter_while_the_gate_drains_waits(void **state)
{
	struct cmfs_gate *gate = *state;
	struct visitor in, late;
	struct thread closer;

	visitor_start(&in, gate);
	WAIT_UNTIL(atomic_load(&in.entered));
	thread_start(&closer, close_gate, gate);
	WAIT_UNTIL(is_closed(gate));
	visitor_start(&late, gate);
	WAIT_UNTIL(waiting(gate) == 1 || atomic_load(&late.entered));
	assert_false(atomic_load(&late.entered));

	visitor_leave(&in);
	thread_join(&closer);
	assert_false(atomic_load(&late.entered));
	cmfs_gate_open(gate);
	WAIT_UNTIL(atomic_load(&late.entered));
	visitor_leave(&late);
}

static void test_open_counts_all_waiters_in_before_the_next_close(void **state)
{
	struct cmfs_gate *gate = *state;
	struct visitor v[3];
	struct thread closer;

	cmfs_gate_close(gate);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		visitor_start(&v[i], gate);
	WAIT_UNTIL(waiting(gate) == ARRAY_SIZE(v));
	assert_int_equal(inside(gate), 0);

	cmfs_gate_open(gate);
	assert_int_equal(inside(gate), ARRAY_SIZE(v)); /* awake or not */
	thread_start(&closer, close_gate, gate);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		WAIT_UNTIL(atomic_load(&v[i].entered));
		assert_false(thread_done(&closer));
	}
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		visitor_leave(&v[i]);
	thread_join(&closer);
	cmfs_gate_open(gate);
}

/*
 * The stress: visitors check that no closer is at work while they are inside, and
 * the closer that nobody is. The plain counter makes TSan check it as well.
 */
#define VISITS 20000
#define CLOSES 5000

struct stress {
	struct cmfs_gate *gate;
	atomic_int inside;
	uint64_t switched; /* changed by the closer, read by visitors: the gate protects it */
	atomic_int visiting;
	atomic_bool stop;
};

static void visit_often(void *arg)
{
	struct stress *s = arg;

	for (int i = 0; i < VISITS; i++) {
		uint64_t before;

		cmfs_gate_enter(s->gate);
		atomic_fetch_add(&s->inside, 1);
		before = s->switched;
		if (i % 64 == 0)
			sched_yield();
		THREAD_CHECK(s->switched == before);
		atomic_fetch_sub(&s->inside, 1);
		cmfs_gate_leave(s->gate);
	}
	atomic_fetch_sub(&s->visiting, 1);
}

static void visit_until_stopped(void *arg)
{
	struct stress *s = arg;

	while (!atomic_load(&s->stop)) {
		cmfs_gate_enter(s->gate);
		atomic_fetch_add(&s->inside, 1);
		sched_yield();
		atomic_fetch_sub(&s->inside, 1);
		cmfs_gate_leave(s->gate);
	}
}

static void close_and_open(struct stress *s)
{
	cmfs_gate_close(s->gate);
	assert_int_equal(atomic_load(&s->inside), 0);
	s->switched++;
	cmfs_gate_open(s->gate);
}

static void test_waiters_when_the_gate_closes_back_to_back_all_get_in(void **state)
{
	struct stress s = { .gate = *state, .visiting = 4 };
	struct thread threads[4];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		thread_start(&threads[i], visit_often, &s);
	while (atomic_load(&s.visiting) > 0)
		close_and_open(&s);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		thread_join(&threads[i]);
}

static void test_closer_when_entering_never_stops_gets_its_turn(void **state)
{
	struct stress s = { .gate = *state };
	struct thread threads[4];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		thread_start(&threads[i], visit_until_stopped, &s);
	for (int i = 0; i < CLOSES; i++)
		close_and_open(&s);
	atomic_store(&s.stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		thread_join(&threads[i]);
	assert_int_equal(s.switched, CLOSES);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_enter_when_open_admits_any_number),
		TEST(test_close_when_nobody_is_inside_returns_at_once),
		TEST(test_close_when_some_are_inside_waits_for_the_last),
		TEST(test_enter_when_closed_waits_for_the_opening),
		TEST(test_enter_while_the_gate_drains_waits),
		TEST(test_open_counts_all_waiters_in_before_the_next_close),
		TEST(test_waiters_when_the_gate_closes_back_to_back_all_get_in),
		TEST(test_closer_when_entering_never_stops_gets_its_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
