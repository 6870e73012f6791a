// SPDX-License-Identifier: GPL-2.0-or-later
/* The layer of faults, between a memory disk and an image. */
#include "cmfs/fault.h"

#include "harness.h"
#include "image_util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIZE 8192

static struct mem_disk *disk;
static struct cmfs_faults *faults;
static struct cmfs_backend *be;
static char *block; /* aligned */

static void open_disk(const struct mem_config *kind, const struct cmfs_open_how *how)
{
	struct mem_config config = *kind;

	config.size = SIZE;
	disk = mem_disk_create(&config);
	faults = cmfs_faults_create();
	block = aligned_alloc(4096, 4096);
	memset(block, 'a', 4096);
	assert_int_equal(cmfs_backend_fault_open(mem_backend_open(disk, how), faults, &be, NULL),
			 0);
}

static void finish(void)
{
	cmfs_backend_close(be);
	cmfs_faults_unref(faults);
	mem_disk_destroy(disk);
	free(block);
}

static int setup(void **state)
{
	open_disk(&mem_kinds[0], &(struct cmfs_open_how){ .direct = true });
	return 0;
}

static int teardown(void **state)
{
	finish();
	return 0;
}

static void set(const char *spec)
{
	struct cmfs_fault_rules rules;

	assert_int_equal(cmfs_fault_parse(spec, &rules, NULL), 0);
	cmfs_faults_set(faults, &rules);
}

/* ---- each operation ---- */

static int do_read(void)
{
	size_t got;

	return cmfs_backend_read(be, block, 512, 0, &got);
}

static int do_write(void)
{
	return cmfs_backend_write(be, block, 512, 0, CMFS_VOLATILE);
}

static int do_write_exact(void)
{
	return cmfs_backend_write_exact(be, block, 5, SIZE, CMFS_VOLATILE);
}

static int do_flush(void)
{
	return cmfs_backend_flush(be, true);
}

static int do_truncate(void)
{
	return cmfs_backend_truncate(be, SIZE + 512);
}

static int do_allocate(void)
{
	return cmfs_backend_allocate(be, CMFS_ALLOC_ALLOCATE, true, 0, 512);
}

static int do_punch(void)
{
	return cmfs_backend_allocate(be, CMFS_ALLOC_PUNCH, true, 0, 512);
}

static int do_zero(void)
{
	return cmfs_backend_allocate(be, CMFS_ALLOC_ZERO, true, 0, 512);
}

static int do_seek(void)
{
	uint64_t found;

	return cmfs_backend_seek(be, CMFS_SEEK_DATA, 0, &found);
}

static int do_reopen(void)
{
	struct cmfs_backend *other;
	int r = cmfs_backend_reopen(be, &be->how, &other, NULL);

	if (r == 0)
		cmfs_backend_close(other);
	return r;
}

static const struct {
	const char *name;
	int (*run)(void);
	enum mem_op op; /* what reaches the disk */
} operations[] = {
	{ "read", do_read, MEM_READ },
	{ "write", do_write, MEM_WRITE },
	{ "write", do_write_exact, MEM_WRITE_EXACT },
	{ "flush", do_flush, MEM_FLUSH },
	{ "truncate", do_truncate, MEM_TRUNCATE },
	{ "allocate", do_allocate, MEM_ALLOCATE },
	{ "punch", do_punch, MEM_ALLOCATE },
	{ "zero", do_zero, MEM_ALLOCATE },
	{ "seek", do_seek, MEM_SEEK },
	{ "reopen", do_reopen, MEM_REOPEN },
};

static void test_each_operation_is_passed_on_or_fails_without_being_done(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		char spec[64];

		print_message("%s\n", operations[i].name);
		cmfs_faults_set(faults, NULL);
		mem_disk_clear_log(disk);
		assert_int_equal(operations[i].run(), 0);
		assert_int_equal(mem_disk_count(disk, operations[i].op), 1);

		snprintf(spec, sizeof(spec), "%s:ENXIO:once", operations[i].name);
		set(spec);
		mem_disk_clear_log(disk);
		for (size_t other = 0; other < ARRAY_SIZE(operations); other++) {
			if (strcmp(operations[other].name, operations[i].name) != 0)
				assert_int_equal(operations[other].run(), 0);
		}
		mem_disk_clear_log(disk);
		assert_int_equal(operations[i].run(), -ENXIO);
		assert_int_equal(mem_disk_count(disk, operations[i].op), 0);
		assert_int_equal(operations[i].run(), 0);
	}
}

static void test_it_shows_what_is_below_and_hides_what_would_go_past_it(void **state)
{
	uint64_t size;
	struct stat st;

	assert_int_equal(be->geo.align, 512);
	assert_int_equal(be->geo.exact_block, 4096);
	assert_true(be->how.direct);
	assert_int_equal(cmfs_backend_size(be, &size), 0);
	assert_int_equal(size, SIZE);
	assert_int_equal(cmfs_backend_getattr(be, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	mem_disk_lose(disk, -EIO);
	assert_int_equal(cmfs_backend_check(be), -EIO);
	cmfs_backend_drop_cache(be);
	assert_int_equal(mem_disk_count(disk, MEM_DROP_CACHE), 1);
	assert_null(be->ops->host_fd);
	assert_null(be->ops->copy);
	/* The memory disk has no metadata. */
	assert_int_equal(be->ops->meta->chmod(be, 0600), -EOPNOTSUPP);
	assert_int_equal(be->ops->meta->getxattr(be, "user.x", NULL, 0), -EOPNOTSUPP);
}

static void test_errors_of_the_backend_below_come_through(void **state)
{
	mem_disk_fail(disk, MEM_WRITE, 0, 1, -EROFS);
	assert_int_equal(do_write(), -EROFS);
	mem_disk_fail(disk, MEM_REOPEN, 0, 1, -EACCES);
	assert_int_equal(do_reopen(), -EACCES);
}

static void test_reopening_shares_rules_and_counts(void **state)
{
	struct cmfs_backend *other;
	struct cmfs_open_how how = { .dsync = true };

	set("write:EIO:after=1:once");
	assert_int_equal(cmfs_backend_reopen(be, &how, &other, NULL), 0);
	assert_true(other->how.dsync && !other->how.direct);
	assert_int_equal(do_write(), 0);
	assert_int_equal(cmfs_backend_write(other, block, 3, 1, CMFS_VOLATILE), -EIO);
	assert_int_equal(do_write(), 0);
	/* As a switch does it: the first opening goes, the rules stay. */
	cmfs_backend_close(be);
	be = other;
	set("write:ENOSPC");
	assert_int_equal(cmfs_backend_write(be, block, 3, 1, CMFS_VOLATILE), -ENOSPC);
}

static void test_a_durable_write_is_one_operation_or_a_write_and_a_flush(void **state)
{
	finish();
	for (size_t i = 0; i < MEM_KINDS; i++) {
		bool native = mem_kinds[i].fua == CMFS_FUA_NATIVE;

		open_disk(&mem_kinds[i], &(struct cmfs_open_how){ 0 });
		set("flush:EIO");
		assert_int_equal(cmfs_backend_write(be, block, 512, 0, CMFS_VOLATILE), 0);
		assert_int_equal(cmfs_backend_write(be, block, 512, 0, CMFS_DURABLE_DATA),
				 native ? 0 : -EIO);
		cmfs_faults_set(faults, NULL);
		mem_disk_clear_log(disk);
		assert_int_equal(cmfs_backend_write(be, block, 512, 0, CMFS_DURABLE_DATA), 0);
		assert_int_equal(mem_disk_count(disk, MEM_FLUSH), native ? 0 : 1);
		assert_true(mem_store_is_durable(mem_disk_store(disk)));
		set("write:EIO");
		assert_int_equal(cmfs_backend_write(be, block, 512, 0, CMFS_DURABLE_DATA), -EIO);
		if (i + 1 < MEM_KINDS)
			finish();
	}
}

/* ---- delays ---- */

static void delayed_write(void *arg)
{
	THREAD_CHECK(do_write() == 0);
}

static bool hit(void)
{
	char text[CMFS_FAULT_TEXT_LEN];

	cmfs_faults_describe(faults, text, sizeof(text));
	return strstr(text, "hits=1") != NULL;
}

/* Do reads pass a write that waits? False also when the machine was too slow to tell. */
static bool others_pass(const char *spec)
{
	struct thread t;
	bool passed;

	set(spec);
	thread_start(&t, delayed_write, NULL);
	WAIT_UNTIL(hit());
	for (int i = 0; i < 100; i++)
		assert_int_equal(cmfs_backend_seek(be, CMFS_SEEK_DATA, 0, &(uint64_t){ 0 }), 0);
	passed = !thread_done(&t);
	thread_join(&t);
	return passed;
}

static void test_who_waits_holds_up_nobody(void **state)
{
	assert_true(others_pass("write:delay=100ms") || others_pass("write:delay=1s") ||
		    others_pass("write:delay=8s"));
}

static void test_a_delay_takes_its_time(void **state)
{
	struct timespec start, stop;

	set("flush:delay=20ms");
	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(do_flush(), 0);
	clock_gettime(CLOCK_MONOTONIC, &stop);
	assert_true((stop.tv_sec - start.tv_sec) * 1000000000 + stop.tv_nsec - start.tv_nsec >=
		    20000000);
	assert_int_equal(mem_disk_count(disk, MEM_FLUSH), 1);
}

/* ---- under an image: P5 in each mode ---- */

static void with_image(enum cmfs_cache_mode mode, const char *spec,
		       void (*run)(struct cmfs_image *))
{
	struct cmfs_open_how how = cmfs_image_open_how(mode, false);
	struct cmfs_image *image;

	open_disk(&mem_kinds[0], &how);
	assert_int_equal(cmfs_image_create(be, mode, &image, NULL), 0);
	set(spec);
	run(image);
	/* The rules are gone, and still nothing is durable. */
	cmfs_faults_set(faults, NULL);
	if (cmfs_cache_props(mode)->flush) {
		assert_int_equal(cmfs_image_flush(image, true), -EIO);
		assert_int_equal(cmfs_image_flush(image, false), -EIO);
		assert_int_equal(cmfs_image_close(image), -EIO);
	} else {
		assert_int_equal(cmfs_image_flush(image, true), 0);
		assert_int_equal(cmfs_image_close(image), 0);
	}
	cmfs_faults_unref(faults);
	mem_disk_destroy(disk);
	free(block);
}

static void fail_flush(struct cmfs_image *image)
{
	bool flushes = cmfs_cache_props(cmfs_image_cache(image))->flush;

	assert_int_equal(cmfs_image_flush(image, true), flushes ? -ENOSPC : 0);
}

static void fail_durable_write(struct cmfs_image *image)
{
	bool flushes = cmfs_cache_props(cmfs_image_cache(image))->flush;
	size_t done;
	int r = cmfs_image_write(image, block, 100, 7, CMFS_DURABLE_DATA, &done);

	if (flushes)
		assert_int_equal(r, -EDQUOT);
}

static void test_a_flush_that_a_rule_fails_stays_failed(void **state)
{
	finish();
	for (int mode = 0; mode < CMFS_CACHE_MODES; mode++)
		with_image(mode, "flush:ENOSPC:once", fail_flush);
	setup(NULL);
}

static void test_a_durable_write_that_a_rule_fails_stays_failed(void **state)
{
	finish();
	for (int mode = 0; mode < CMFS_CACHE_MODES; mode++)
		with_image(mode, "write:EDQUOT:once", fail_durable_write);
	setup(NULL);
}

static void test_a_switch_that_a_rule_fails_leaves_the_mode(void **state)
{
	struct cmfs_image *image;
	struct cmfs_err err;

	finish();
	open_disk(&mem_kinds[0], &(struct cmfs_open_how){ 0 });
	assert_int_equal(cmfs_image_create(be, CMFS_CACHE_WRITEBACK, &image, NULL), 0);
	set("reopen:ENOMEM:once");
	assert_int_equal(cmfs_image_set_cache(image, CMFS_CACHE_NONE, &err), -ENOMEM);
	assert_non_null(strstr(err.msg, "fault rule"));
	assert_int_equal(cmfs_image_cache(image), CMFS_CACHE_WRITEBACK);
	assert_int_equal(cmfs_image_set_cache(image, CMFS_CACHE_NONE, &err), 0);
	assert_int_equal(cmfs_image_flush(image, true), 0);
	assert_int_equal(cmfs_image_close(image), 0);
	cmfs_faults_unref(faults);
	mem_disk_destroy(disk);
	free(block);
	setup(NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_each_operation_is_passed_on_or_fails_without_being_done),
		CASE(test_it_shows_what_is_below_and_hides_what_would_go_past_it),
		CASE(test_errors_of_the_backend_below_come_through),
		CASE(test_reopening_shares_rules_and_counts),
		CASE(test_a_durable_write_is_one_operation_or_a_write_and_a_flush),
		CASE(test_who_waits_holds_up_nobody),
		CASE(test_a_delay_takes_its_time),
		CASE(test_a_flush_that_a_rule_fails_stays_failed),
		CASE(test_a_durable_write_that_a_rule_fails_stays_failed),
		CASE(test_a_switch_that_a_rule_fails_leaves_the_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
