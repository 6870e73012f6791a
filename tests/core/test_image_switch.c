// SPDX-License-Identifier: GPL-2.0-or-later
/* The live switch (P7), one at a time: what it does, in which order, and its failures. */
#include "harness.h"

#include "image_util.h"
#include "mem_hold.h"

#include <errno.h>
#include <string.h>

#define FOR_EACH_PAIR(from, to)                                                                    \
	for (enum cmfs_cache_mode from = 0; from < CMFS_CACHE_MODES; from++)                       \
		for (enum cmfs_cache_mode to = 0; to < CMFS_CACHE_MODES; to++)

static const struct cmfs_cache_props *props_of(enum cmfs_cache_mode mode)
{
	return cmfs_cache_props(mode);
}

static void test_switch_for_each_pair_is_a_barrier(void **state)
{
	struct mem_image m;

	for (size_t kind = 0; kind < MEM_KINDS; kind++) {
		FOR_EACH_PAIR(from, to)
		{
			bool durable = props_of(from)->dsync || props_of(to)->flush;

			mem_image_open(&m, from, &mem_kinds[kind]);
			assert_int_equal(mem_image_fill(&m, 'a', 5000, 123, CMFS_VOLATILE), 0);
			assert_int_equal(cmfs_image_set_cache(m.image, to, NULL), 0);
			assert_int_equal(cmfs_image_cache(m.image), to);
			assert_int_equal(mem_store_is_durable(m.store), durable);
			assert_true(mem_image_holds(&m, MEM_NOW, 'a', 5000, 123));
			assert_int_equal(mem_store_size(m.store, MEM_NOW), 5123);
			mem_image_finish(&m);
		}
	}
}

static void test_requests_after_a_switch_have_the_new_modes_durability(void **state)
{
	struct mem_image m;

	for (size_t kind = 0; kind < MEM_KINDS; kind++) {
		FOR_EACH_PAIR(from, to)
		{
			mem_image_open(&m, from, &mem_kinds[kind]);
			assert_int_equal(cmfs_image_set_cache(m.image, to, NULL), 0);
			assert_int_equal(mem_image_fill(&m, 'a', 5000, 123, CMFS_VOLATILE), 0);
			assert_int_equal(mem_image_holds(&m, MEM_DURABLE, 'a', 5000, 123),
					 props_of(to)->dsync);
			assert_int_equal(cmfs_image_truncate(m.image, 5000), 0);
			assert_int_equal(mem_store_is_durable(m.store), props_of(to)->dsync);
			assert_int_equal(cmfs_image_flush(m.image, true), 0);
			assert_int_equal(mem_store_is_durable(m.store), props_of(to)->flush);
			mem_image_finish(&m);
		}
	}
}

static void test_switch_for_each_pair_reopens_flushes_and_closes_in_order(void **state)
{
	struct mem_event log[8];
	struct mem_image m;

	FOR_EACH_PAIR(from, to)
	{
		struct {
			enum mem_op op;
			unsigned int opening;
		} expected[4];
		size_t n = 0;

		/* What nobody flushes is asked for a failure (P5). */
		expected[n].op = MEM_REOPEN;
		expected[n++].opening = 0;
		expected[n].op = props_of(to)->flush ? MEM_FLUSH : MEM_CHECK;
		expected[n++].opening = 0;
		if (props_of(to)->direct) {
			expected[n].op = MEM_DROP_CACHE;
			expected[n++].opening = 1;
		}
		expected[n].op = MEM_CLOSE;
		expected[n++].opening = 0;

		mem_image_open(&m, from, NULL);
		assert_int_equal(cmfs_image_set_cache(m.image, to, NULL), 0);
		assert_int_equal(mem_disk_log(m.disk, log, ARRAY_SIZE(log)), n);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(log[i].op, expected[i].op);
			assert_int_equal(log[i].opening, expected[i].opening);
		}
		assert_int_equal(mem_disk_openings(m.disk), 1);
		mem_image_finish(&m);
	}
}

/* One that can be open in one way only: nothing can fail any more when it is reopened. */
static const struct mem_config last_kind = {
	.direct = { 512, 512, 4096 },
	.fua = CMFS_FUA_NATIVE,
	.reopen_last = true,
};

static void look_at_the_gate(void *arg, const struct mem_event *event, enum mem_stage stage)
{
	struct mem_image *m = arg;

	if (event->op == MEM_REOPEN)
		assert_true(gate_is_closed(m->image));
}

static void test_switch_of_a_place_with_one_way_to_be_open_reopens_it_last(void **state)
{
	struct mem_config kind = last_kind;
	struct mem_event log[8];
	struct mem_image m;

	kind.hook = look_at_the_gate;
	kind.hook_arg = &m;
	FOR_EACH_PAIR(from, to)
	{
		mem_image_open(&m, from, &kind);
		assert_int_equal(cmfs_image_set_cache(m.image, to, NULL), 0);
		assert_int_equal(mem_disk_log(m.disk, log, ARRAY_SIZE(log)),
				 props_of(to)->direct ? 4 : 3);
		assert_int_equal(log[0].op, props_of(to)->flush ? MEM_FLUSH : MEM_CHECK);
		assert_int_equal(log[1].op, MEM_REOPEN);
		assert_int_equal(log[1].opening, 0);
		assert_int_equal(mem_disk_openings(m.disk), 1);
		assert_false(gate_is_closed(m.image));
		mem_image_finish(&m);
	}
}

static void test_switch_opens_as_the_new_mode_wants_it(void **state)
{
	struct cmfs_open_how how, expected;
	struct mem_image m;

	for (int readonly = 0; readonly <= 1; readonly++) {
		FOR_EACH_PAIR(from, to)
		{
			if (readonly)
				mem_image_open_readonly(&m, from);
			else
				mem_image_open(&m, from, NULL);
			assert_int_equal(cmfs_image_set_cache(m.image, to, NULL), 0);
			how = m.image->be->how;
			expected = cmfs_image_open_how(to, readonly);
			assert_int_equal(how.direct, expected.direct);
			assert_int_equal(how.dsync, expected.dsync);
			assert_int_equal(how.readonly, readonly);
			assert_int_equal(cmfs_image_readonly(m.image), readonly);
			mem_image_finish(&m);
		}
	}
}

/* ---- failures ---- */

/* The mode @from holds in full: its descriptor, its durability. */
static void check_old_mode_holds(struct mem_image *m, enum cmfs_cache_mode from)
{
	assert_int_equal(cmfs_image_cache(m->image), from);
	assert_int_equal(m->image->be->how.direct, props_of(from)->direct);
	assert_int_equal(m->image->be->how.dsync, props_of(from)->dsync);
	assert_int_equal(mem_disk_openings(m->disk), 1);
	assert_true(mem_image_holds(m, MEM_NOW, 'a', 5000, 123));
}

static void test_switch_when_the_reopen_fails_changes_nothing(void **state)
{
	struct cmfs_err err;
	struct mem_image m;

	FOR_EACH_PAIR(from, to)
	{
		mem_image_open(&m, from, NULL);
		assert_int_equal(mem_image_fill(&m, 'a', 5000, 123, CMFS_VOLATILE), 0);
		mem_disk_fail(m.disk, MEM_REOPEN, 0, 1, -EOPNOTSUPP);
		mem_disk_clear_log(m.disk);
		err.msg[0] = '\0';
		assert_int_equal(cmfs_image_set_cache(m.image, to, &err), -EOPNOTSUPP);
		assert_string_not_equal(err.msg, "");
		check_old_mode_holds(&m, from);
		assert_int_equal(mem_disk_count(m.disk, MEM_REOPEN), 1);
		assert_int_equal(mem_disk_count(m.disk, MEM_FLUSH), 0);
		assert_int_equal(mem_disk_count(m.disk, MEM_CLOSE), 0);

		/* A next attempt may do better; the image has not failed. */
		assert_int_equal(cmfs_image_error(m.image), 0);
		assert_int_equal(cmfs_image_set_cache(m.image, to, NULL), 0);
		assert_int_equal(cmfs_image_cache(m.image), to);
		mem_image_finish(&m);
	}
}

static void test_switch_when_the_last_reopen_fails_keeps_the_old_mode(void **state)
{
	struct mem_image m;

	FOR_EACH_PAIR(from, to)
	{
		mem_image_open(&m, from, &last_kind);
		assert_int_equal(mem_image_fill(&m, 'a', 5000, 123, CMFS_VOLATILE), 0);
		mem_disk_fail(m.disk, MEM_REOPEN, 0, 1, -ESTALE);
		assert_int_equal(cmfs_image_set_cache(m.image, to, NULL), -ESTALE);
		check_old_mode_holds(&m, from);
		assert_int_equal(cmfs_image_flush(m.image, true), 0);

		/* The flush comes first: when that fails, nothing is reopened. */
		mem_disk_clear_log(m.disk);
		mem_disk_fail(m.disk, MEM_FLUSH, 0, 1, -EIO);
		assert_int_equal(cmfs_image_set_cache(m.image, to, NULL),
				 props_of(to)->flush ? -EIO : 0);
		assert_int_equal(mem_disk_count(m.disk, MEM_REOPEN), !props_of(to)->flush);
		mem_image_finish(&m);
	}
}

/* The place could be opened neither in the new way nor in the old one again. */
static void test_switch_that_lost_the_place_fails_the_image(void **state)
{
	struct cmfs_failure failure;
	struct mem_image m;

	FOR_EACH_PAIR(from, to)
	{
		mem_image_open(&m, from, &last_kind);
		mem_disk_fail(m.disk, MEM_REOPEN, 0, 1, -EIO);
		mem_disk_fail(m.disk, MEM_CHECK, !props_of(to)->flush, 1, -EIO);
		assert_int_equal(cmfs_image_set_cache(m.image, to, NULL), -EIO);
		assert_true(cmfs_image_take_failure(m.image, &failure));
		assert_int_equal(cmfs_image_flush(m.image, true), props_of(from)->flush ? -EIO : 0);
		mem_image_finish(&m);
	}
}

static void test_switch_when_the_flush_fails_keeps_the_old_mode(void **state)
{
	struct cmfs_failure failure;
	struct cmfs_err err;
	struct mem_image m;

	FOR_EACH_PAIR(from, to)
	{
		if (!props_of(to)->flush)
			continue;
		mem_image_open(&m, from, NULL);
		assert_int_equal(mem_image_fill(&m, 'a', 5000, 123, CMFS_VOLATILE), 0);
		mem_disk_fail(m.disk, MEM_FLUSH, 0, 1, -EIO);
		err.msg[0] = '\0';
		assert_int_equal(cmfs_image_set_cache(m.image, to, &err), -EIO);
		assert_non_null(strstr(err.msg, props_of(to)->name));
		check_old_mode_holds(&m, from);
		/* It was a flush, and it failed: P5. */
		assert_true(cmfs_image_take_failure(m.image, &failure));
		assert_int_equal(failure.error, -EIO);
		assert_int_equal(cmfs_image_flush(m.image, true), props_of(from)->flush ? -EIO : 0);
		mem_image_finish(&m);
	}
}

static void test_switch_when_the_caller_wants_no_message_still_fails(void **state)
{
	struct mem_image m;

	mem_image_open(&m, CMFS_CACHE_WRITEBACK, NULL);
	mem_disk_fail(m.disk, MEM_REOPEN, 0, 1, -EACCES);
	assert_int_equal(cmfs_image_set_cache(m.image, CMFS_CACHE_NONE, NULL), -EACCES);
	mem_disk_fail(m.disk, MEM_FLUSH, 0, 1, -EIO);
	assert_int_equal(cmfs_image_set_cache(m.image, CMFS_CACHE_NONE, NULL), -EIO);
	mem_image_finish(&m);
}

/* ---- with a request inside ---- */

struct request {
	struct thread thread;
	struct mem_image *m;
	int fill;
	enum cmfs_cache_mode to;
};

static void write_block(void *arg)
{
	struct request *q = arg;

	THREAD_CHECK(mem_image_fill(q->m, q->fill, 4096, 0, CMFS_VOLATILE) == 0);
}

static void switch_mode(void *arg)
{
	struct request *q = arg;

	THREAD_CHECK(cmfs_image_set_cache(q->m->image, q->to, NULL) == 0);
}

/*
 * A write stands in the backend; the switch has reopened and waits for it with
 * the gate closed; a second write comes and waits for the switch.
 */
static void test_switch_waits_for_those_inside_and_later_ones_for_it(void **state)
{
	FOR_EACH_PAIR(from, to)
	{
		struct mem_hold hold = MEM_HOLD_INITIALIZER;
		struct mem_config config = mem_kinds[0];
		struct mem_image m;
		struct request inside = { .m = &m, .fill = 'a' }, late = { .m = &m, .fill = 'b' };
		struct request switcher = { .m = &m, .to = to };

		config.hook = mem_hold_hook;
		config.hook_arg = &hold;
		mem_image_open(&m, from, &config);
		mem_hold_arm(&hold, MEM_WRITE, MEM_BEFORE);
		thread_start(&inside.thread, write_block, &inside);
		mem_hold_wait(&hold);

		thread_start(&switcher.thread, switch_mode, &switcher);
		WAIT_UNTIL(gate_is_closed(m.image));
		thread_start(&late.thread, write_block, &late);
		WAIT_UNTIL(gate_waiting(m.image) == 1);
		assert_int_equal(mem_disk_count(m.disk, MEM_REOPEN), 1);
		assert_int_equal(mem_disk_count(m.disk, MEM_FLUSH), 0);
		assert_int_equal(mem_disk_count(m.disk, MEM_WRITE), 1);
		assert_int_equal(cmfs_image_cache(m.image), from);
		assert_false(thread_done(&switcher.thread));

		mem_hold_release(&hold);
		thread_join(&inside.thread);
		thread_join(&switcher.thread);
		thread_join(&late.thread);
		assert_int_equal(cmfs_image_cache(m.image), to);
		assert_true(mem_image_holds(&m, MEM_NOW, 'b', 4096, 0));
		assert_int_equal(mem_image_holds(&m, MEM_DURABLE, 'b', 4096, 0),
				 props_of(to)->dsync);
		mem_image_finish(&m);
	}
}

/* Each other kind of request, too: what it does it does on one backend. */
static void do_read(void *arg)
{
	char buf[100];
	size_t got;

	THREAD_CHECK(cmfs_image_read(arg, buf, sizeof(buf), 0, &got) == 0);
}

static void do_getattr(void *arg)
{
	struct stat st;

	THREAD_CHECK(cmfs_image_getattr(arg, &st) == 0);
}

static void do_seek(void *arg)
{
	uint64_t found;

	THREAD_CHECK(cmfs_image_seek(arg, CMFS_SEEK_DATA, 0, &found) == 0);
}

static void do_flush(void *arg)
{
	THREAD_CHECK(cmfs_image_flush(arg, true) == 0);
}

static void do_truncate(void *arg)
{
	THREAD_CHECK(cmfs_image_truncate(arg, 5000) == 0);
}

static void do_punch(void *arg)
{
	THREAD_CHECK(cmfs_image_allocate(arg, CMFS_ALLOC_PUNCH, true, 0, 100) == 0);
}

static void do_copy(void *arg)
{
	size_t got;

	THREAD_CHECK(cmfs_image_copy(arg, 0, arg, 4096, 100, &got) == 0);
}

static void test_switch_waits_for_each_kind_of_request(void **state)
{
	static const struct {
		enum mem_op op;
		void (*run)(void *image);
	} requests[] = {
		{ MEM_READ, do_read },	 { MEM_GETATTR, do_getattr },	{ MEM_SEEK, do_seek },
		{ MEM_FLUSH, do_flush }, { MEM_TRUNCATE, do_truncate }, { MEM_ALLOCATE, do_punch },
		{ MEM_COPY, do_copy },
	};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct mem_hold hold = MEM_HOLD_INITIALIZER;
		const struct mem_config config = {
			.copy = true, .size = 8192, .hook = mem_hold_hook, .hook_arg = &hold
		};
		struct mem_image m;
		struct request switcher = { .m = &m, .to = CMFS_CACHE_UNSAFE };
		struct thread inside;

		mem_image_open(&m, CMFS_CACHE_WRITEBACK, &config);
		mem_hold_arm(&hold, requests[i].op, MEM_BEFORE);
		thread_start(&inside, requests[i].run, m.image);
		mem_hold_wait(&hold);
		thread_start(&switcher.thread, switch_mode, &switcher);
		linger();
		assert_false(thread_done(&switcher.thread));
		mem_hold_release(&hold);
		thread_join(&inside);
		thread_join(&switcher.thread);
		mem_image_finish(&m);
	}
}

struct copy {
	struct thread thread;
	struct cmfs_image *src, *dst;
};

static void copy_block(void *arg)
{
	struct copy *c = arg;
	size_t got;

	THREAD_CHECK(cmfs_image_copy(c->src, 0, c->dst, 0, 4096, &got) == 0);
}

/* Whichever of the two it is: a copy enters their gates in the order of their addresses. */
static void test_switch_waits_for_a_copy_from_or_to_another_image(void **state)
{
	struct mem_hold hold = MEM_HOLD_INITIALIZER;
	const struct mem_config config = {
		.copy = true, .size = 8192, .hook = mem_hold_hook, .hook_arg = &hold
	};
	struct mem_image m[2];

	mem_image_open(&m[0], CMFS_CACHE_WRITEBACK, &config);
	mem_image_open(&m[1], CMFS_CACHE_WRITEBACK, &config);
	for (int i = 0; i < 4; i++) {
		struct copy copy = { .src = m[i >> 1].image, .dst = m[!(i >> 1)].image };
		struct request switcher = { .m = &m[i & 1], .to = CMFS_CACHE_UNSAFE };

		mem_hold_arm(&hold, MEM_COPY, MEM_BEFORE);
		thread_start(&copy.thread, copy_block, &copy);
		mem_hold_wait(&hold);
		thread_start(&switcher.thread, switch_mode, &switcher);
		linger();
		assert_false(thread_done(&switcher.thread));
		mem_hold_release(&hold);
		thread_join(&copy.thread);
		thread_join(&switcher.thread);
	}
	mem_image_finish(&m[0]);
	mem_image_finish(&m[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_switch_for_each_pair_is_a_barrier),
		cmocka_unit_test(test_requests_after_a_switch_have_the_new_modes_durability),
		cmocka_unit_test(test_switch_for_each_pair_reopens_flushes_and_closes_in_order),
		cmocka_unit_test(test_switch_of_a_place_with_one_way_to_be_open_reopens_it_last),
		cmocka_unit_test(test_switch_opens_as_the_new_mode_wants_it),
		cmocka_unit_test(test_switch_when_the_reopen_fails_changes_nothing),
		cmocka_unit_test(test_switch_when_the_last_reopen_fails_keeps_the_old_mode),
		cmocka_unit_test(test_switch_that_lost_the_place_fails_the_image),
		cmocka_unit_test(test_switch_when_the_flush_fails_keeps_the_old_mode),
		cmocka_unit_test(test_switch_when_the_caller_wants_no_message_still_fails),
		cmocka_unit_test(test_switch_waits_for_those_inside_and_later_ones_for_it),
		cmocka_unit_test(test_switch_waits_for_each_kind_of_request),
		cmocka_unit_test(test_switch_waits_for_a_copy_from_or_to_another_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
