// SPDX-License-Identifier: GPL-2.0-or-later
/* A power cut of an image, in every mode: what dies, what lives on, and in which order. */
#include "harness.h"

#include "image_util.h"
#include "mem_hold.h"

#include <errno.h>
#include <string.h>

#define KIB 1024

/* The image of the present boot; all on one disk. */
static struct mem_image m;

static const struct mem_config plain = { .direct = { 512, 512, 4096 },
					 .fua = CMFS_FUA_NATIVE,
					 .size = 16 * KIB };

static void open_cuttable(enum cmfs_cache_mode mode, const struct mem_config *config)
{
	struct cmfs_open_how how = cmfs_image_open_how(mode, false);
	struct cmfs_backend *be;

	m.disk = mem_disk_create(config);
	m.store = mem_disk_store(m.disk);
	assert_int_equal(
		cmfs_backend_powercut_open(mem_backend_open(m.disk, &how), 4096, &be, NULL), 0);
	assert_int_equal(cmfs_image_create(be, mode, &m.image, NULL), 0);
	m.image->layers.powercut = cmfs_backend_powercut_state(be);
}

/* Returns the image that is dead now. */
static struct cmfs_image *cut(enum cmfs_powercut_kind kind, uint64_t number)
{
	const struct cmfs_powercut_spec spec = { .kind = kind, .number = number };
	struct cmfs_image *old = m.image;

	assert_int_equal(cmfs_image_cut(old, &spec, &m.image, NULL), 0);
	assert_non_null(m.image);
	return old;
}

static void expect_dead(struct cmfs_image *image)
{
	struct cmfs_powercut_summary s;
	struct cmfs_failure failure;
	char buf[KIB] = { 0 };
	struct stat st;
	uint64_t n;
	size_t got;

	for (int asked = CMFS_VOLATILE; asked <= CMFS_DURABLE_ALL; asked++)
		assert_int_equal(
			cmfs_image_write(image, buf, KIB, 1, (enum cmfs_durability)asked, &got),
			-EIO);
	assert_int_equal(cmfs_image_read(image, buf, KIB, 0, &got), -EIO);
	assert_int_equal(cmfs_image_flush(image, true), -EIO);
	assert_int_equal(cmfs_image_truncate(image, 0), -EIO);
	assert_int_equal(cmfs_image_allocate(image, CMFS_ALLOC_ZERO, true, 0, KIB), -EIO);
	assert_int_equal(cmfs_image_seek(image, CMFS_SEEK_DATA, 0, &n), -EIO);
	assert_int_equal(cmfs_image_getattr(image, &st), -EIO);
	assert_int_equal(cmfs_image_copy(image, 0, m.image, 0, KIB, &got), -EIO);
	assert_int_equal(cmfs_image_copy(m.image, 0, image, 0, KIB, &got), -EIO);
	assert_int_equal(cmfs_image_copy(image, 0, image, 2 * KIB, KIB, &got), -EIO);
	assert_int_equal(cmfs_image_set_cache(image, CMFS_CACHE_UNSAFE, NULL), -EIO);
	assert_int_equal(cmfs_image_error(image), -EIO);
	assert_int_equal(cmfs_image_powercut_summary(image, &s), -EIO);
	assert_false(cmfs_image_take_failure(image, &failure)); /* no news */
	cmfs_image_hold(image);
	assert_true(cmfs_image_is_dead(image));
	cmfs_image_unhold(image);
}

static void test_a_cut_in_each_mode_when_made_kills_the_image_and_boots_another(void **state)
{
	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		struct cmfs_powercut_summary s;
		struct cmfs_image *old;
		bool sync = cmfs_cache_props(mode)->dsync;

		open_cuttable(mode, &plain);
		assert_int_equal(mem_image_fill(&m, 'a', 3000, 1000, CMFS_VOLATILE), 0);
		assert_int_equal(cmfs_image_powercut_summary(m.image, &s), 0);
		assert_int_equal(s.writes == 0, sync);
		old = cut(CMFS_POWERCUT_LOSE, 0);
		assert_true(mem_image_holds(&m, MEM_NOW, sync ? 'a' : 0, 3000, 1000));
		expect_dead(old);
		assert_int_equal(cmfs_image_cache(m.image), mode);
		assert_int_equal(cmfs_image_powercut_summary(m.image, &s), 0);
		assert_int_equal(s.writes + s.others, 0);

		/* The new one works, and can be switched and cut. */
		assert_int_equal(mem_image_fill(&m, 'b', 3000, 1000, CMFS_VOLATILE), 0);
		assert_int_equal(cmfs_image_flush(m.image, true), 0);
		assert_int_equal(mem_image_holds(&m, MEM_DURABLE, 'b', 3000, 1000),
				 cmfs_cache_props(mode)->flush);
		assert_int_equal(cmfs_image_set_cache(m.image, CMFS_CACHE_WRITEBACK, NULL), 0);
		assert_true(mem_image_holds(&m, MEM_DURABLE, 'b', 3000, 1000));
		assert_int_equal(cmfs_image_close(old), 0);
		old = cut(CMFS_POWERCUT_LOSE, 0);
		assert_true(mem_image_holds(&m, MEM_NOW, 'b', 3000, 1000));
		assert_int_equal(cmfs_image_close(old), 0);
		assert_int_equal(mem_image_close(&m), 0);
		mem_disk_destroy(m.disk);
	}
}

static void test_a_second_cut_when_the_image_is_dead_is_refused(void **state)
{
	const struct cmfs_powercut_spec spec = { .kind = CMFS_POWERCUT_LOSE };
	struct cmfs_image *old, *none = (struct cmfs_image *)&spec;

	open_cuttable(CMFS_CACHE_NONE, &plain);
	old = cut(CMFS_POWERCUT_KEEP, 0);
	assert_int_equal(cmfs_image_cut(old, &spec, &none, NULL), -EIO);
	assert_null(none);
	assert_int_equal(cmfs_image_close(old), 0);
	mem_image_finish(&m);
}

static void test_a_cut_when_there_is_no_layer_is_refused(void **state)
{
	const struct cmfs_powercut_spec spec = { .kind = CMFS_POWERCUT_LOSE };
	struct cmfs_powercut_summary s;
	struct cmfs_image *none;

	mem_image_open(&m, CMFS_CACHE_WRITEBACK, NULL);
	assert_int_equal(cmfs_image_cut(m.image, &spec, &none, NULL), -EOPNOTSUPP);
	assert_int_equal(cmfs_image_powercut_summary(m.image, &s), -EOPNOTSUPP);
	assert_int_equal(mem_image_fill(&m, 'a', KIB, 0, CMFS_VOLATILE), 0);
	mem_image_finish(&m);
}

static void test_a_cut_when_the_next_opening_fails_changes_nothing(void **state)
{
	const struct cmfs_powercut_spec spec = { .kind = CMFS_POWERCUT_LOSE };
	struct cmfs_image *none;

	open_cuttable(CMFS_CACHE_WRITEBACK, &plain);
	assert_int_equal(mem_image_fill(&m, 'a', KIB, 0, CMFS_VOLATILE), 0);
	mem_disk_fail(m.disk, MEM_REOPEN, 0, 1, -EMFILE);
	assert_int_equal(cmfs_image_cut(m.image, &spec, &none, NULL), -EMFILE);
	assert_null(none);
	assert_int_equal(cmfs_image_flush(m.image, true), 0);
	assert_true(mem_image_holds(&m, MEM_DURABLE, 'a', KIB, 0));
	assert_int_equal(mem_image_close(&m), 0);
	mem_disk_destroy(m.disk);
}

static void test_a_cut_when_what_survived_cannot_be_written_fails_the_next_boot(void **state)
{
	const struct cmfs_powercut_spec keep = { .kind = CMFS_POWERCUT_KEEP };
	struct cmfs_image *old;

	open_cuttable(CMFS_CACHE_WRITEBACK, &plain);
	assert_int_equal(mem_image_fill(&m, 'a', KIB, 0, CMFS_VOLATILE), 0);
	mem_disk_fail(m.disk, MEM_WRITE, 0, 1, -ENOSPC);
	old = m.image;
	assert_int_equal(cmfs_image_cut(old, &keep, &m.image, NULL), -ENOSPC);
	assert_non_null(m.image);
	expect_dead(old);
	assert_int_equal(cmfs_image_flush(m.image, true), -EIO);
	assert_int_equal(cmfs_image_close(old), 0);
	assert_int_equal(mem_image_close(&m), -EIO);
	mem_disk_destroy(m.disk);
}

/* P5 is for a boot: the next one begins as a mount does. */
static void test_a_cut_when_the_image_had_failed_boots_one_that_has_not(void **state)
{
	struct cmfs_image *old;

	open_cuttable(CMFS_CACHE_WRITEBACK, &plain);
	assert_int_equal(mem_image_fill(&m, 'a', KIB, 0, CMFS_VOLATILE), 0);
	mem_disk_fail(m.disk, MEM_FLUSH, 0, 1, -EIO);
	assert_int_equal(cmfs_image_flush(m.image, true), -EIO);
	assert_int_equal(cmfs_image_flush(m.image, true), -EIO);
	old = cut(CMFS_POWERCUT_KEEP, 0);
	assert_int_equal(cmfs_image_flush(m.image, true), 0);
	assert_true(mem_image_holds(&m, MEM_NOW, 'a', KIB, 0));
	assert_int_equal(cmfs_image_close(old), 0);
	assert_int_equal(mem_image_close(&m), 0);
	mem_disk_destroy(m.disk);
}

/* ---- the end without a cut ---- */

static void test_closing_when_the_mode_is_unsafe_writes_all_without_a_flush(void **state)
{
	open_cuttable(CMFS_CACHE_UNSAFE, &plain);
	assert_int_equal(mem_image_fill(&m, 'a', 3000, 1, CMFS_DURABLE_ALL), 0);
	assert_int_equal(cmfs_image_flush(m.image, false), 0);
	assert_true(mem_image_holds(&m, MEM_NOW, 0, 4000, 0));
	mem_disk_clear_log(m.disk);
	assert_int_equal(mem_image_close(&m), 0);
	assert_true(mem_image_holds(&m, MEM_NOW, 'a', 3000, 1));
	assert_int_equal(mem_disk_count(m.disk, MEM_FLUSH), 0);
	mem_disk_destroy(m.disk);
}

static void test_closing_when_the_data_cannot_be_written_is_an_error_in_each_mode(void **state)
{
	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		if (cmfs_cache_props(mode)->dsync)
			continue; /* nothing is left */
		open_cuttable(mode, &plain);
		assert_int_equal(mem_image_fill(&m, 'a', 4096, 0, CMFS_VOLATILE), 0);
		mem_disk_fail(m.disk, MEM_WRITE, 0, 9, -ENOSPC);
		assert_int_equal(mem_image_close(&m), -ENOSPC);
		mem_disk_destroy(m.disk);
	}
}

/* ---- in flight ---- */

struct request {
	struct thread thread;
	struct cmfs_image *image;
	int result;
};

static void run_flush(void *arg)
{
	struct request *r = arg;

	r->result = cmfs_image_flush(r->image, true);
}

static void run_write(void *arg)
{
	static const char buf[700];
	struct request *r = arg;
	size_t done;

	r->result = cmfs_image_write(r->image, buf, sizeof(buf), 100, CMFS_VOLATILE, &done);
}

static void run_cut(void *arg)
{
	const struct cmfs_powercut_spec lose = { .kind = CMFS_POWERCUT_LOSE };
	struct request *r = arg;

	r->result = cmfs_image_cut(r->image, &lose, &m.image, NULL);
}

/* A write waits for a flush in the layer, another for the first one's range. */
static void test_a_cut_when_requests_wait_ends_all_of_them(void **state)
{
	static struct mem_hold hold = MEM_HOLD_INITIALIZER;
	struct mem_config config = plain;
	struct request flush, cutter, write[2];

	config.hook = mem_hold_hook;
	config.hook_arg = &hold;
	open_cuttable(CMFS_CACHE_NONE, &config);
	assert_int_equal(mem_image_fill(&m, 'a', KIB, 0, CMFS_VOLATILE), 0);
	mem_hold_arm(&hold, MEM_FLUSH, MEM_BEFORE);
	flush.image = cutter.image = write[0].image = write[1].image = m.image;
	thread_start(&flush.thread, run_flush, &flush);
	mem_hold_wait(&hold);
	for (int i = 0; i < 2; i++) {
		thread_start(&write[i].thread, run_write, &write[i]);
		linger();
	}
	thread_start(&cutter.thread, run_cut, &cutter);
	linger();
	assert_false(thread_done(&write[0].thread) || thread_done(&write[1].thread));
	mem_hold_release(&hold);
	thread_join(&flush.thread);
	thread_join(&write[0].thread);
	thread_join(&write[1].thread);
	thread_join(&cutter.thread);
	assert_int_equal(flush.result, 0);
	assert_int_equal(write[0].result, -EIO);
	assert_int_equal(write[1].result, -EIO);
	assert_int_equal(cutter.result, 0);
	assert_true(mem_image_holds(&m, MEM_NOW, 'a', KIB, 0));
	expect_dead(flush.image);
	assert_int_equal(cmfs_image_close(flush.image), 0);
	assert_int_equal(mem_image_close(&m), 0);
	mem_disk_destroy(m.disk);
}

/* ---- many of them ---- */

#define BLOCKS 16

struct writer {
	struct thread thread;
	struct cmfs_image *image;
	struct rnd rnd;
	unsigned char written[BLOCKS], acked[BLOCKS], durable[BLOCKS];
};

/* Blocks of 1000 bytes, so that neighbours share sectors and pages (P9). */
static void run_writer(void *arg)
{
	struct writer *w = arg;
	unsigned char buf[1000];
	size_t done;
	int r = 0;

	while (r == 0) {
		unsigned int i = (unsigned int)rnd_below(&w->rnd, BLOCKS);

		if (rnd_below(&w->rnd, 6) == 0) {
			r = cmfs_image_flush(w->image, true);
			if (r == 0)
				memcpy(w->durable, w->written, sizeof(w->durable));
			continue;
		}
		w->written[i]++;
		memset(buf, w->written[i], sizeof(buf));
		r = cmfs_image_write(w->image, buf, sizeof(buf), i * sizeof(buf), CMFS_VOLATILE,
				     &done);
		if (r == 0)
			w->acked[i] = w->written[i];
	}
	THREAD_CHECK(r == -EIO);
}

/* In each mode, cut under load: what was flushed, or acknowledged in sync modes, is there. */
static void test_cuts_when_a_thread_writes_lose_nothing_durable(void **state)
{
	unsigned char content[BLOCKS * 1000];
	struct writer w;
	size_t got;

	rnd_init(&w.rnd, 7);
	for (int boot = 0; boot < 150; boot++) {
		enum cmfs_cache_mode mode = (enum cmfs_cache_mode)(boot % CMFS_CACHE_MODES);
		const struct cmfs_cache_props *props = cmfs_cache_props(mode);
		struct cmfs_image *old;

		open_cuttable(mode, &plain);
		w.image = m.image;
		memset(w.written, 0, sizeof(w.written));
		memset(w.acked, 0, sizeof(w.acked));
		memset(w.durable, 0, sizeof(w.durable));
		thread_start(&w.thread, run_writer, &w);
		usleep((useconds_t)(boot * 13 % 2000));
		old = cut(CMFS_POWERCUT_RANDOM, (uint64_t)boot);
		thread_join(&w.thread);
		assert_int_equal(cmfs_image_read(m.image, content, sizeof(content), 0, &got), 0);
		assert_int_equal(got, sizeof(content));
		for (unsigned int i = 0; i < sizeof(content); i++) {
			unsigned char written = w.written[i / 1000], durable = w.durable[i / 1000];

			if (props->dsync)
				durable = w.acked[i / 1000];
			if (!props->flush)
				durable = 0;
			/* They wrap around. */
			if ((unsigned char)(content[i] - durable) >
			    (unsigned char)(written - durable))
				fail_msg("%s: byte %u is %u, not %u to %u", props->name, i,
					 content[i], durable, written);
		}
		assert_int_equal(cmfs_image_close(old), 0);
		assert_int_equal(mem_image_close(&m), 0);
		mem_disk_destroy(m.disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_cut_in_each_mode_when_made_kills_the_image_and_boots_another),
		cmocka_unit_test(test_a_second_cut_when_the_image_is_dead_is_refused),
		cmocka_unit_test(test_a_cut_when_there_is_no_layer_is_refused),
		cmocka_unit_test(test_a_cut_when_the_next_opening_fails_changes_nothing),
		cmocka_unit_test(
			test_a_cut_when_what_survived_cannot_be_written_fails_the_next_boot),
		cmocka_unit_test(test_a_cut_when_the_image_had_failed_boots_one_that_has_not),
		cmocka_unit_test(test_closing_when_the_mode_is_unsafe_writes_all_without_a_flush),
		cmocka_unit_test(
			test_closing_when_the_data_cannot_be_written_is_an_error_in_each_mode),
		cmocka_unit_test(test_a_cut_when_requests_wait_ends_all_of_them),
		cmocka_unit_test(test_cuts_when_a_thread_writes_lose_nothing_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
