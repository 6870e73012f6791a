// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A million random requests against an array of bytes (P9), with every geometry.
 * The memory backend asserts the alignment of all that reaches it.
 */
#include "harness.h"

#include "align_util.h"

#include <string.h>

#define MODEL_MAX (16 * 1024)

/* For each geometry. TSan has nothing to find in one thread, and takes long for it. */
#ifdef __SANITIZE_THREAD__
#define OPS 20000
#else
#define OPS 200000
#endif

struct model {
	struct align_disk d;
	struct rnd rnd;
	uint64_t size;
	uint8_t bytes[MODEL_MAX];
	uint8_t buf[MODEL_MAX + 4096] __attribute__((aligned(4096)));
};

/* Anywhere, but most often where it hurts: near the end, at borders of blocks. */
static uint64_t random_off(struct model *m)
{
	uint64_t off = rnd_below(&m->rnd, MODEL_MAX - 64);

	switch (rnd_below(&m->rnd, 4)) {
	case 0:
		return off;
	case 1:
		off = m->size + rnd_below(&m->rnd, 600);
		return off > 300 && off - 300 < MODEL_MAX ? off - 300 : 0;
	case 2:
		return off - off % 512;
	default:
		off = off - off % 512 + rnd_below(&m->rnd, 3);
		return off > 0 ? off - 1 : 0;
	}
}

static uint64_t random_len(struct model *m, uint64_t off)
{
	static const uint64_t most[] = { 16, 600, 600, 5000 };
	uint64_t len = 1 + rnd_below(&m->rnd, most[rnd_below(&m->rnd, ARRAY_SIZE(most))]);

	if (rnd_below(&m->rnd, 4) == 0)
		len += 512 - (off + len) % 512;
	return off + len < MODEL_MAX ? len : MODEL_MAX - off;
}

static uint8_t *random_buf(struct model *m)
{
	return m->buf + (rnd_below(&m->rnd, 2) == 0 ? 0 : rnd_below(&m->rnd, 4096));
}

/* What lies between the old end and the new one reads as zeroes. */
static void model_grow(struct model *m, uint64_t end)
{
	if (end > m->size) {
		memset(m->bytes + m->size, 0, end - m->size);
		m->size = end;
	}
}

static void random_write(struct model *m)
{
	uint64_t off = random_off(m), len = random_len(m, off);
	enum cmfs_durability durability = (enum cmfs_durability)rnd_below(&m->rnd, 3);
	uint8_t *buf = random_buf(m);

	rnd_fill(&m->rnd, buf, len);
	assert_int_equal(cmfs_align_write(m->d.be, &m->d.locks, buf, len, off, durability, false),
			 0);
	model_grow(m, off + len);
	memcpy(m->bytes + off, buf, len);
	if (durability != CMFS_VOLATILE)
		assert_true(mem_store_holds(m->d.store, MEM_DURABLE, off, buf, len));
}

static void random_read(struct model *m)
{
	uint64_t off = random_off(m), len = random_len(m, off), there;
	uint8_t *buf = random_buf(m);
	size_t got;

	if (len == MODEL_MAX)
		len--;
	buf[len] = 0x77;
	assert_int_equal(cmfs_align_read(m->d.be, buf, len, off, &got), 0);
	there = off < m->size ? m->size - off : 0;
	assert_int_equal(got, there < len ? there : len);
	assert_memory_equal(buf, m->bytes + off, got);
	assert_int_equal(buf[len], 0x77); /* nothing beyond what was asked for */
}

static void random_truncate(struct model *m)
{
	uint64_t size = random_off(m);

	assert_int_equal(align_disk_truncate(&m->d, size), 0);
	model_grow(m, size);
	m->size = size;
}

static void random_allocate(struct model *m)
{
	uint64_t off = random_off(m), len = random_len(m, off), end = off + len;
	enum cmfs_alloc what = (enum cmfs_alloc)rnd_below(&m->rnd, 3);
	bool keep_size = rnd_below(&m->rnd, 2) == 0 || what == CMFS_ALLOC_PUNCH;

	assert_int_equal(cmfs_align_allocate(m->d.be, &m->d.locks, what, keep_size, off, len), 0);
	if (!keep_size)
		model_grow(m, end);
	if (end > m->size)
		end = m->size;
	if (what != CMFS_ALLOC_ALLOCATE && off < end)
		memset(m->bytes + off, 0, end - off);
}

/* The size never left the range from what it was to what it is: never rounded. */
static void check_size(struct model *m, uint64_t before)
{
	uint64_t low, high, size;

	assert_int_equal(cmfs_backend_size(m->d.be, &size), 0);
	assert_int_equal(size, m->size);
	mem_store_size_range(m->d.store, &low, &high);
	assert_int_equal(low, before < m->size ? before : m->size);
	assert_int_equal(high, before > m->size ? before : m->size);
}

static void random_operation(struct model *m)
{
	uint64_t before = m->size, kind = rnd_below(&m->rnd, 100);

	if (kind < 50)
		random_write(m);
	else if (kind < 80)
		random_read(m);
	else if (kind < 88)
		random_truncate(m);
	else
		random_allocate(m);
	check_size(m, before);
}

static void run_random_operations(const struct mem_config *config, uint64_t stream)
{
	static struct model m;

	m.size = config->size;
	memset(m.bytes, 0, m.size);
	rnd_init(&m.rnd, stream);
	align_disk_open(&m.d, config);
	for (int op = 0; op < OPS; op++) {
		random_operation(&m);
		if (op % 64 == 0)
			assert_true(mem_store_holds(m.d.store, MEM_NOW, 0, m.bytes, m.size));
	}
	assert_true(mem_store_holds(m.d.store, MEM_NOW, 0, m.bytes, m.size));
	align_disk_close(&m.d);
}

/* One test for each geometry, so that a failure names it. */
#define RANDOM_TEST(name, stream, ...)                                                             \
	static void test_random_operations_when_##name##_match_the_model(void **state)             \
	{                                                                                          \
		run_random_operations(&(const struct mem_config){ __VA_ARGS__ }, stream);          \
	}

RANDOM_TEST(any_alignment_will_do, 1, .direct = { 1, 1, 1 }, .fua = CMFS_FUA_EMULATE)
RANDOM_TEST(blocks_are_512_and_memory_any, 2, .direct = { 512, 1, 512 }, .fua = CMFS_FUA_NATIVE,
	    .size = 700)
RANDOM_TEST(blocks_are_512_in_4096, 3, .direct = { 512, 512, 4096 }, .fua = CMFS_FUA_EMULATE)
RANDOM_TEST(blocks_are_512_in_8192, 4, .direct = { 512, 4, 8192 }, .fua = CMFS_FUA_NATIVE)
RANDOM_TEST(blocks_are_4096, 5, .direct = { 4096, 4096, 4096 }, .fua = CMFS_FUA_NATIVE)
RANDOM_TEST(blocks_are_4096_in_8192, 6, .direct = { 4096, 512, 8192 }, .fua = CMFS_FUA_EMULATE,
	    .size = 5000)

int main(void)
{
#define TEST(name) cmocka_unit_test(test_random_operations_when_##name##_match_the_model)
	const struct CMUnitTest tests[] = {
		TEST(any_alignment_will_do),  TEST(blocks_are_512_and_memory_any),
		TEST(blocks_are_512_in_4096), TEST(blocks_are_512_in_8192),
		TEST(blocks_are_4096),	      TEST(blocks_are_4096_in_8192),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
