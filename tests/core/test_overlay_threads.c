// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Many threads write and read while commits run one after the other. Each has bytes of
 * its own, which share blocks with its neighbours'; the last one has the end of the
 * content, which it cuts off and lets grow.
 */
#include "harness.h"

#include "overlay_util.h"

#include <string.h>

#define WRITERS 4
#define STRIPE	1000 /* bytes; a writer's next one is WRITERS stripes on */
#define STRIPES 12   /* of each writer */
#define FIXED	(WRITERS * STRIPES * STRIPE)
#define TAIL	20000 /* at most, behind that */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define COMMITS 150
#else
#define COMMITS 1500
#endif

static struct {
	struct overlay_disk d;
	uint8_t stripes[WRITERS][STRIPES][STRIPE]; /* a writer's own, until it is joined */
	uint8_t tail[TAIL];
	uint64_t tail_len;
	atomic_bool stop;
	atomic_uint requests;
} s;

static uint64_t place(unsigned int writer, unsigned int stripe)
{
	return ((uint64_t)stripe * WRITERS + writer) * STRIPE;
}

static void check_stripe(unsigned int writer, unsigned int stripe)
{
	uint8_t buf[STRIPE];
	size_t got = 0;

	THREAD_CHECK(cmfs_backend_read(s.d.be, buf, STRIPE, place(writer, stripe), &got) == 0);
	THREAD_CHECK(got == STRIPE && memcmp(buf, s.stripes[writer][stripe], STRIPE) == 0);
}

static void change_stripe(struct rnd *rnd, unsigned int writer, unsigned int stripe)
{
	uint8_t *bytes = s.stripes[writer][stripe];
	uint64_t from = rnd_below(rnd, STRIPE), len = 1 + rnd_below(rnd, STRIPE - from);
	uint64_t off = place(writer, stripe) + from;
	int r;

	if (rnd_below(rnd, 4) == 0) {
		memset(bytes + from, 0, len);
		r = cmfs_backend_allocate(s.d.be, CMFS_ALLOC_PUNCH, true, off, len);
	} else {
		rnd_fill(rnd, bytes + from, len);
		r = cmfs_backend_write(s.d.be, bytes + from, len, off, CMFS_VOLATILE);
	}
	THREAD_CHECK(r == 0);
}

struct writer {
	struct thread thread;
	unsigned int number;
};

static void write_stripes(void *arg)
{
	struct writer *writer = arg;
	struct rnd rnd;

	rnd_init(&rnd, writer->number);
	while (!atomic_load(&s.stop)) {
		unsigned int stripe = (unsigned int)rnd_below(&rnd, STRIPES);

		if (rnd_below(&rnd, 2) == 0)
			change_stripe(&rnd, writer->number, stripe);
		check_stripe(writer->number, stripe);
		atomic_fetch_add(&s.requests, 1);
	}
}

static void check_tail(void)
{
	static uint8_t buf[TAIL + 1];
	size_t got = 0;

	THREAD_CHECK(cmfs_backend_read(s.d.be, buf, sizeof(buf), FIXED, &got) == 0);
	THREAD_CHECK(got == s.tail_len && memcmp(buf, s.tail, got) == 0);
}

static void change_tail(struct rnd *rnd)
{
	uint64_t at = rnd_below(rnd, TAIL), len = 1 + rnd_below(rnd, TAIL - at);
	int r;

	if (rnd_below(rnd, 2) == 0) {
		if (at < s.tail_len)
			memset(s.tail + at, 0, s.tail_len - at);
		s.tail_len = at;
		r = cmfs_backend_truncate(s.d.be, FIXED + at);
	} else {
		rnd_fill(rnd, s.tail + at, len);
		s.tail_len = s.tail_len > at + len ? s.tail_len : at + len;
		r = cmfs_backend_write(s.d.be, s.tail + at, len, FIXED + at, CMFS_VOLATILE);
	}
	THREAD_CHECK(r == 0);
}

static void write_tail(void *arg)
{
	struct rnd rnd;

	rnd_init(&rnd, WRITERS);
	while (!atomic_load(&s.stop)) {
		change_tail(&rnd);
		check_tail();
		atomic_fetch_add(&s.requests, 1);
	}
}

static void commit_again_and_again(void)
{
	for (int i = 0; i < COMMITS; i++) {
		unsigned int before = atomic_load(&s.requests);

		assert_int_equal(cmfs_overlay_commit(s.d.overlay, NULL), 0);
		WAIT_UNTIL(atomic_load(&s.requests) - before > WRITERS);
	}
}

static void expect_all_in_image(void)
{
	static uint8_t wanted[FIXED + TAIL];

	for (unsigned int w = 0; w < WRITERS; w++)
		for (unsigned int i = 0; i < STRIPES; i++)
			memcpy(wanted + place(w, i), s.stripes[w][i], STRIPE);
	memcpy(wanted + FIXED, s.tail, s.tail_len);
	overlay_disk_expect_image(&s.d, wanted, FIXED + s.tail_len);
}

static void run(const struct mem_config *config, bool direct)
{
	struct writer writers[WRITERS];
	struct thread tail;

	memset(&s, 0, sizeof(s));
	overlay_disk_open(&s.d, config, config, direct, 0);
	for (unsigned int i = 0; i < WRITERS; i++) {
		writers[i].number = i;
		thread_start(&writers[i].thread, write_stripes, &writers[i]);
	}
	thread_start(&tail, write_tail, NULL);
	commit_again_and_again();
	atomic_store(&s.stop, true);
	for (unsigned int i = 0; i < WRITERS; i++)
		thread_join(&writers[i].thread);
	thread_join(&tail);
	assert_int_equal(cmfs_overlay_commit(s.d.overlay, NULL), 0);
	expect_all_in_image();
	overlay_disk_close(&s.d);
}

static void test_commits_when_threads_write_lose_nothing(void **state)
{
	run(&(const struct mem_config){ .size = FIXED }, false);
}

static void test_commits_when_threads_write_directly_lose_nothing(void **state)
{
	run(&(const struct mem_config){ .size = FIXED, .direct = { 512, 512, 4096 } }, true);
}

/* ---- a reader at the moment when the overlay is forgotten ---- */

static struct {
	struct overlay_disk d;
	atomic_uint flushes; /* of the image */
	atomic_bool committing_stands, reading_stands, commit_on, read_on;
} m;

/* The commit stands behind its last flush. */
static void hold_commit(void *arg, const struct mem_event *event, enum mem_stage stage)
{
	if (event->op != MEM_FLUSH || stage != MEM_AFTER || atomic_fetch_add(&m.flushes, 1) == 0)
		return;
	atomic_store(&m.committing_stands, true);
	WAIT_UNTIL(atomic_load(&m.commit_on));
}

/* The reader has found the block in the overlay, and has not read it. */
static void hold_read(void *arg, const struct mem_event *event, enum mem_stage stage)
{
	if (event->op != MEM_READ || stage != MEM_BEFORE || !atomic_load(&m.committing_stands))
		return;
	atomic_store(&m.reading_stands, true);
	WAIT_UNTIL(atomic_load(&m.read_on));
}

static void run_commit(void *arg)
{
	THREAD_CHECK(cmfs_overlay_commit(m.d.overlay, NULL) == 0);
}

static void run_read(void *arg)
{
	char buf[4096];
	size_t got = 0;

	THREAD_CHECK(cmfs_backend_read(m.d.be, buf, sizeof(buf), 0, &got) == 0 &&
		     got == sizeof(buf) && buf[0] == 'x' && buf[4095] == 'x');
}

static void test_the_overlay_when_it_is_read_is_not_forgotten(void **state)
{
	const struct mem_config image = { .size = 65536, .hook = hold_commit };
	const struct mem_config temp = { .hook = hold_read };
	struct thread commit, read;
	char buf[4096];

	overlay_disk_open(&m.d, &image, &temp, false, 'i');
	memset(buf, 'x', sizeof(buf));
	assert_int_equal(cmfs_backend_write(m.d.be, buf, sizeof(buf), 0, CMFS_VOLATILE), 0);
	thread_start(&commit, run_commit, NULL);
	WAIT_UNTIL(atomic_load(&m.committing_stands));
	thread_start(&read, run_read, NULL); /* a commit does not hold up who reads */
	WAIT_UNTIL(atomic_load(&m.reading_stands));
	atomic_store(&m.commit_on, true);
	linger();
	assert_false(thread_done(&commit));
	atomic_store(&m.read_on, true);
	thread_join(&read);
	thread_join(&commit);
	overlay_disk_close(&m.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commits_when_threads_write_lose_nothing),
		cmocka_unit_test(test_the_overlay_when_it_is_read_is_not_forgotten),
		cmocka_unit_test(test_commits_when_threads_write_directly_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
