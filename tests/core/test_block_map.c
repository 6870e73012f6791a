// SPDX-License-Identifier: GPL-2.0-or-later
/* The block map against an array, over ranges that span many leaves. */
#include "harness.h"

#include "block_map.h"

#include <string.h>

#define LEAF   8192
#define BLOCKS (5 * LEAF)
#define ROUNDS 3000
/* Where the array lies in the map: within, and across the border of two nodes. */
#define NODE (512ULL * LEAF)

struct model {
	struct cmfs_block_map map;
	uint64_t base;
	uint8_t states[BLOCKS];
};

static struct model m;

static void start(uint64_t base)
{
	memset(&m, 0, sizeof(m));
	cmfs_block_map_init(&m.map);
	m.base = base;
}

static void set(uint64_t from, uint64_t to, unsigned int state)
{
	assert_int_equal(cmfs_block_map_set(&m.map, m.base + from, m.base + to, state), 0);
	memset(m.states + from, (int)state, to - from);
}

static uint64_t model_run(uint64_t from, uint64_t to)
{
	uint64_t end = from + 1;

	while (end < to && m.states[end] == m.states[from])
		end++;
	return end;
}

static void check_run(uint64_t from, uint64_t to)
{
	uint64_t end;

	assert_int_equal(cmfs_block_map_run(&m.map, m.base + from, m.base + to, &end),
			 m.states[from]);
	assert_int_equal(end, m.base + model_run(from, to));
}

static void check_all(void)
{
	uint64_t count[CMFS_BLOCK_STATES] = { CMFS_BLOCK_MAP_END - BLOCKS };

	for (uint64_t i = 0; i < BLOCKS; i = model_run(i, BLOCKS))
		check_run(i, BLOCKS);
	for (uint64_t i = 0; i < BLOCKS; i++)
		count[m.states[i]]++;
	assert_memory_equal(count, m.map.count, sizeof(count));
}

static void random_range(struct rnd *rnd, uint64_t *ret_from, uint64_t *ret_to)
{
	static const uint64_t most[] = { 1, 20, 600, BLOCKS };
	uint64_t from = rnd_below(rnd, BLOCKS);
	uint64_t len = 1 + rnd_below(rnd, most[rnd_below(rnd, ARRAY_SIZE(most))]);

	if (rnd_below(rnd, 8) == 0)
		from -= from % LEAF; /* and whole leaves */
	if (rnd_below(rnd, 8) == 0)
		len += LEAF - len % LEAF;
	*ret_from = from;
	*ret_to = from + len < BLOCKS ? from + len : BLOCKS;
}

static void walk(uint64_t base, uint64_t stream)
{
	struct rnd rnd;

	rnd_init(&rnd, stream);
	start(base);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t from, to;

		random_range(&rnd, &from, &to);
		set(from, to, (unsigned int)rnd_below(&rnd, CMFS_BLOCK_STATES));
		random_range(&rnd, &from, &to);
		check_run(from, to);
		if (i % 100 == 0)
			check_all();
	}
	check_all();
	cmfs_block_map_finish(&m.map);
}

static void test_random_ranges_when_set_read_back(void **state)
{
	walk(0, 1);
	walk(NODE - 2 * LEAF - 77, 2);
	walk(512 * NODE - 3 * LEAF, 3);
	walk(CMFS_BLOCK_MAP_END - BLOCKS, 4);
}

static void test_all_blocks_when_set_at_once_are_one_run(void **state)
{
	uint64_t end;

	start(0);
	set(100, 200, 3);
	assert_int_equal(cmfs_block_map_set(&m.map, 0, CMFS_BLOCK_MAP_END, 5), 0);
	assert_int_equal(cmfs_block_map_run(&m.map, 150, CMFS_BLOCK_MAP_END, &end), 5);
	assert_int_equal(end, CMFS_BLOCK_MAP_END);
	assert_int_equal(m.map.count[5], CMFS_BLOCK_MAP_END);
	assert_int_equal(m.map.count[3], 0);
	assert_true(m.map.root < CMFS_BLOCK_STATES); /* and take no memory */
	cmfs_block_map_finish(&m.map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_ranges_when_set_read_back),
		cmocka_unit_test(test_all_blocks_when_set_at_once_are_one_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
