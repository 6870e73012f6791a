// SPDX-License-Identifier: GPL-2.0-or-later
/* The class of a handle, walked over all of its inputs. */
#include "handle_class.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

/* One input of the function. */
struct input {
	const struct cmfs_cache_props *mode;
	struct cmfs_handle_context c;
};

#define BOOLS (1 << 4) /* can_passthrough, sync_flag, failed, was_mappable */

static const int access_modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
static const int sync_flags[] = { 0, O_DSYNC, O_SYNC };

/* Call @check with every input, no handle being open. */
static void for_each_first(void (*check)(const struct input *in, void *arg), void *arg)
{
	for (int m = 0; m < CMFS_CACHE_MODES; m++)
		for (int a = 0; a < 3; a++)
			for (int s = 0; s < 3; s++)
				for (int direct = 0; direct <= 1; direct++)
					for (int b = 0; b < BOOLS; b++)
						check(&(struct input){ cmfs_cache_props(m),
								       { .open_flags =
										 access_modes[a] |
										 sync_flags[s] |
										 (direct ? O_DIRECT
											 : 0),
									 .can_passthrough = b & 1,
									 .sync_flag = b & 2,
									 .failed = b & 4,
									 .was_mappable = b & 8 } },
						      arg);
}

static bool writes(const struct input *in)
{
	return (in->c.open_flags & O_ACCMODE) != O_RDONLY;
}

/* PROMISES, said once more in the words of the promises. */
static bool keeps_promises(enum cmfs_handle_class class, const struct input *in)
{
	bool o_direct = in->c.open_flags & O_DIRECT, o_dsync = in->c.open_flags & O_DSYNC;
	bool claims = writes(in) && in->mode->flush && (in->mode->dsync || o_dsync);

	if (class == CMFS_HANDLE_CACHED)
		return !in->mode->direct && !in->c.was_mappable; /* P6, P9 */
	if (class != CMFS_HANDLE_PASSTHROUGH)
		return true;					 /* the daemon sees each request */
	return (!in->mode->direct || o_direct) &&		 /* P6 */
	       (!claims || o_dsync || in->c.sync_flag) &&	 /* P1, P4 */
	       !(writes(in) && !in->mode->flush && o_dsync) &&	 /* P3 */
	       !(writes(in) && in->mode->flush && in->c.failed); /* P5, of RWF_DSYNC too */
}

static void check_promises(const struct input *in, void *arg)
{
	assert_true(keeps_promises(cmfs_handle_class_choose(in->mode, &in->c), in));
}

static void test_class_keeps_the_promises_when_it_is_the_first(void **state)
{
	for_each_first(check_promises, NULL);
}

static void check_rule(const struct input *in, void *arg)
{
	bool o_direct = in->c.open_flags & O_DIRECT, o_dsync = in->c.open_flags & O_DSYNC;
	enum cmfs_handle_class class = cmfs_handle_class_choose(in->mode, &in->c);
	bool cached = !in->mode->direct && !in->c.was_mappable;

	if (!in->c.can_passthrough || (in->c.failed && in->mode->flush)) {
		assert_int_equal(class, cached ? CMFS_HANDLE_CACHED : CMFS_HANDLE_DIRECT);
		return;
	}
	if (!writes(in) || in->c.sync_flag || (!in->mode->flush && o_dsync))
		return;
	/* The rule: passthrough when the open's flags demand all that the mode demands. */
	if ((o_direct || !in->mode->direct) && (o_dsync || !in->mode->dsync))
		assert_int_equal(class, CMFS_HANDLE_PASSTHROUGH);
	else if (in->c.was_mappable || (in->mode->direct && o_direct))
		assert_int_equal(class, CMFS_HANDLE_DIRECT_MAPPED);
	else
		assert_int_equal(class, in->mode->direct ? CMFS_HANDLE_DIRECT : CMFS_HANDLE_CACHED);
}

static void test_class_is_passthrough_when_the_flags_demand_what_the_mode_does(void **state)
{
	for_each_first(check_rule, NULL);
}

/*
 * What the kernel does with a second handle of an inode: the table of
 * fs/fuse/iomode.c as measured. (A direct handle that has mapped the file counts
 * as cached.)
 */
static bool kernel_accepts(enum cmfs_handle_class open, enum cmfs_handle_class then)
{
	bool open_backed = cmfs_handle_class_flags(open).passthrough;
	bool then_backed = cmfs_handle_class_flags(then).passthrough;

	return open == CMFS_HANDLE_DIRECT ? !then_backed : open_backed == then_backed;
}

/* Only the same mount's handles meet: whether passthrough can be had does not change. */
static void check_second(const struct input *then, void *arg)
{
	const struct input *first = arg;
	enum cmfs_handle_class open = cmfs_handle_class_choose(first->mode, &first->c);
	struct input in = *then;
	enum cmfs_handle_class class;

	if (first->c.can_passthrough != then->c.can_passthrough)
		return;
	in.c.was_mappable = first->c.was_mappable;
	if (cmfs_handle_class_flags(open).passthrough) {
		in.c.open_with_passthrough = 1;
		in.c.was_mappable = true;
	} else {
		in.c.open_without = 1;
	}
	class = cmfs_handle_class_choose(in.mode, &in.c);
	assert_true(kernel_accepts(open, class));
	assert_true(keeps_promises(class, &in));
}

static void check_pairs_that_start_with(const struct input *first, void *arg)
{
	for_each_first(check_second, (void *)first);
}

/* In two modes as well: the mode can be switched in between. */
static void test_no_pair_of_handles_is_refused_by_the_kernel(void **state)
{
	for_each_first(check_pairs_that_start_with, NULL);
}

static void test_flags_cache_only_what_is_neither_direct_nor_passthrough(void **state)
{
	for (int i = 0; i < CMFS_HANDLE_CLASSES; i++) {
		struct cmfs_handle_flags flags = cmfs_handle_class_flags(i);

		assert_int_equal(flags.keep_cache, !flags.passthrough);
		assert_int_equal(flags.direct_io,
				 i == CMFS_HANDLE_DIRECT || i == CMFS_HANDLE_DIRECT_MAPPED);
		assert_int_equal(flags.parallel_direct_writes, flags.direct_io);
		assert_int_equal(flags.passthrough,
				 i == CMFS_HANDLE_PASSTHROUGH || i == CMFS_HANDLE_DIRECT_MAPPED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_class_keeps_the_promises_when_it_is_the_first),
		cmocka_unit_test(
			test_class_is_passthrough_when_the_flags_demand_what_the_mode_does),
		cmocka_unit_test(test_no_pair_of_handles_is_refused_by_the_kernel),
		cmocka_unit_test(test_flags_cache_only_what_is_neither_direct_nor_passthrough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
