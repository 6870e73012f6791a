// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Many threads write, flush and read while the power is cut again and again. Each
 * writer has blocks of its own, a number in all of each; it knows what was
 * acknowledged and what of it was durable. After a cut a block has nothing older
 * than the last durable number, and nothing newer than the last one written.
 */
#include "harness.h"

#include "powercut_util.h"

#include <errno.h>
#include <string.h>

#define WRITERS 4
#define BLOCKS	8
#define BLOCK	1024

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define BOOTS 40
#else
#define BOOTS 300
#endif

struct block {
	uint32_t written, acked, durable; /* numbers */
};

static struct {
	struct cut_disk d;
	struct block blocks[WRITERS][BLOCKS]; /* a writer's own, until it is joined */
	atomic_uint requests;
} s;

static uint64_t place(unsigned int writer, unsigned int block)
{
	return ((uint64_t)writer * BLOCKS + block) * BLOCK;
}

/* Returns the request's result. */
static int do_something(struct rnd *rnd, unsigned int writer)
{
	struct block *blocks = s.blocks[writer];
	unsigned int i = (unsigned int)rnd_below(rnd, BLOCKS);
	enum cmfs_durability durability =
		rnd_below(rnd, 4) == 0 ? CMFS_DURABLE_DATA : CMFS_VOLATILE;
	uint32_t buf[BLOCK / 4];
	size_t got;
	int r;

	switch (rnd_below(rnd, 8)) {
	case 0: {
		struct block before[BLOCKS];

		memcpy(before, blocks, sizeof(before));
		r = cmfs_backend_flush(s.d.be, true);
		for (unsigned int b = 0; r == 0 && b < BLOCKS; b++)
			blocks[b].durable = before[b].written;
		return r;
	}
	case 1:
		r = cmfs_backend_read(s.d.be, buf, BLOCK, place(writer, i), &got);
		for (unsigned int w = 0; r == 0 && w < BLOCK / 4; w++)
			THREAD_CHECK(buf[w] == blocks[i].written);
		return r;
	default:
		blocks[i].written++;
		for (unsigned int w = 0; w < BLOCK / 4; w++)
			buf[w] = blocks[i].written;
		r = cmfs_backend_write(s.d.be, buf, BLOCK, place(writer, i), durability);
		if (r == 0)
			blocks[i].acked = blocks[i].written;
		if (r == 0 && durability != CMFS_VOLATILE)
			blocks[i].durable = blocks[i].written;
		return r;
	}
}

struct writer {
	struct thread thread;
	unsigned int number, boot;
};

static void run_writer(void *arg)
{
	struct writer *w = arg;
	struct rnd rnd;
	int r = 0;

	rnd_init(&rnd, w->boot * WRITERS + w->number);
	while (r == 0) {
		r = do_something(&rnd, w->number);
		atomic_fetch_add(&s.requests, 1);
	}
	THREAD_CHECK(r == -EIO);
}

/* Returns how many acknowledged writes were lost. */
static unsigned int check_blocks(void)
{
	uint32_t buf[BLOCK / 4], lowest;
	unsigned int lost = 0;

	for (unsigned int writer = 0; writer < WRITERS; writer++) {
		for (unsigned int i = 0; i < BLOCKS; i++) {
			struct block *b = &s.blocks[writer][i];

			mem_store_read(s.d.store, MEM_DURABLE, buf, BLOCK, place(writer, i));
			lowest = UINT32_MAX;
			for (unsigned int w = 0; w < BLOCK / 4; w++) {
				if (buf[w] > b->written)
					fail_msg("%u was never written", buf[w]);
				lowest = buf[w] < lowest ? buf[w] : lowest;
			}
			assert_true(lowest >= b->durable);
			lost += lowest < b->acked;
			/* All of one number again. */
			for (unsigned int w = 0; w < BLOCK / 4; w++)
				buf[w] = b->written;
			assert_int_equal(cmfs_backend_write(s.d.be, buf, BLOCK, place(writer, i),
							    CMFS_DURABLE_DATA),
					 0);
			b->durable = b->acked = b->written;
		}
	}
	return lost;
}

static void test_cuts_when_threads_write_lose_nothing_durable(void **state)
{
	const struct mem_config config = { .fua = CMFS_FUA_NATIVE,
					   .size = (uint64_t)WRITERS * BLOCKS * BLOCK };
	unsigned int lost = 0;
	struct rnd rnd;

	rnd_init(&rnd, UINT32_MAX);
	cut_disk_open(&s.d, &config, false, 8 * BLOCK);
	for (unsigned int boot = 0; boot < BOOTS; boot++) {
		struct cmfs_powercut_spec spec = { .kind = CMFS_POWERCUT_RANDOM,
						   .number = rnd_next(&rnd) };
		struct writer w[WRITERS];
		unsigned int until = atomic_load(&s.requests) + 20 + rnd_below(&rnd, 200);

		for (unsigned int i = 0; i < WRITERS; i++) {
			w[i].number = i;
			w[i].boot = boot;
			thread_start(&w[i].thread, run_writer, &w[i]);
		}
		WAIT_UNTIL(atomic_load(&s.requests) > until);
		assert_int_equal(cmfs_powercut_off(s.d.pc, &spec), 0);
		for (unsigned int i = 0; i < WRITERS; i++)
			thread_join(&w[i].thread);
		assert_int_equal(cmfs_powercut_settle(s.d.pc), 0);
		assert_int_equal(cmfs_powercut_on(s.d.pc), 0);
		lost += check_blocks();
	}
	assert_true(lost > 0); /* or it would prove nothing */
	cut_disk_close(&s.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts_when_threads_write_lose_nothing_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
