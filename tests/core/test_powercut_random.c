// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A million random requests with power cuts among them, against a model that knows
 * what each cut may leave (powercut_model.h).
 */
#include "harness.h"

#include "powercut_model.h"
#include "powercut_util.h"

#include <string.h>

/* For each kind of disk. TSan has nothing to find in one thread, and takes long for it. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define OPS 30000
#else
#define OPS 200000
#endif

struct walk {
	struct cut_disk d;
	struct mem_config config;
	struct rnd rnd;
	struct model m;
	uint8_t buf[MODEL_MAX + 4096] __attribute__((aligned(4096)));
	unsigned int cuts[CMFS_POWERCUT_PREFIX + 1];
};

static struct walk w;

static uint32_t align(void)
{
	return w.d.be->geo.align;
}

static bool one_in(uint64_t n)
{
	return rnd_below(&w.rnd, n) == 0;
}

/* Anywhere, but most often where it hurts: near the end, at borders of sectors. */
static uint64_t random_off(void)
{
	uint64_t off = rnd_below(&w.rnd, MODEL_MAX - 64);

	switch (rnd_below(&w.rnd, 4)) {
	case 0:
		return off;
	case 1:
		off = w.m.now.size + rnd_below(&w.rnd, 600);
		return off > 300 && off - 300 < MODEL_MAX ? off - 300 : 0;
	case 2:
		return off - off % 512;
	default:
		off = off - off % 512 + rnd_below(&w.rnd, 3);
		return off > 0 ? off - 1 : 0;
	}
}

static uint64_t random_len(uint64_t off)
{
	static const uint64_t most[] = { 16, 600, 600, 3000 };
	uint64_t len = 1 + rnd_below(&w.rnd, most[rnd_below(&w.rnd, ARRAY_SIZE(most))]);

	if (one_in(2))
		len += 512 - (off + len) % 512;
	return off + len < MODEL_MAX ? len : MODEL_MAX - off;
}

static void do_write(void)
{
	uint64_t off = random_off(), len = random_len(off);
	enum cmfs_durability durability = one_in(8) ? CMFS_DURABLE_DATA : CMFS_VOLATILE;
	bool exact = align() > 1 && one_in(2);
	int r;

	if (!exact) {
		off -= off % align();
		len = (len + align() - 1) / align() * align();
		if (off + len > MODEL_MAX)
			return;
	}
	rnd_fill(&w.rnd, w.buf, len);
	r = exact ? cmfs_backend_write_exact(w.d.be, w.buf, len, off, durability)
		  : cmfs_backend_write(w.d.be, w.buf, len, off, durability);
	assert_int_equal(r, 0);
	if (durability == CMFS_VOLATILE || w.config.fua == CMFS_FUA_NATIVE) {
		model_write(&w.m, w.buf, len, off, durability != CMFS_VOLATILE);
	} else {
		model_write(&w.m, w.buf, len, off, false);
		model_flush(&w.m);
	}
}

static void read_and_compare(uint64_t off, uint64_t len)
{
	uint64_t there = off < w.m.now.size ? w.m.now.size - off : 0;
	size_t got;

	assert_int_equal(cmfs_backend_read(w.d.be, w.buf, len, off, &got), 0);
	assert_int_equal(got, there < len ? there : len);
	assert_memory_equal(w.buf, w.m.now.bytes + off, got);
}

static void do_read(void)
{
	uint64_t off = random_off(), len = random_len(off);

	off -= off % align();
	len = (len + align() - 1) / align() * align();
	read_and_compare(off, len);
}

static void do_truncate(void)
{
	uint64_t size = random_off();

	assert_int_equal(cmfs_backend_truncate(w.d.be, size), 0);
	model_truncate(&w.m, size);
}

static void do_allocate(void)
{
	uint64_t off = random_off(), len = random_len(off);
	enum cmfs_alloc what = (enum cmfs_alloc)rnd_below(&w.rnd, 3);
	bool keep_size = one_in(2) || what == CMFS_ALLOC_PUNCH;

	assert_int_equal(cmfs_backend_allocate(w.d.be, what, keep_size, off, len), 0);
	if (what == CMFS_ALLOC_ALLOCATE)
		model_allocate(&w.m, off, len, keep_size);
	else
		model_zero(&w.m, off, len, keep_size);
}

static void do_flush(void)
{
	assert_int_equal(cmfs_backend_flush(w.d.be, one_in(2)), 0);
	model_flush(&w.m);
	assert_int_equal(cut_disk_summary(&w.d).bytes, 0);
}

/* What a seek finds is right by the content: data may be zeroes, a hole must be. */
static void do_seek(void)
{
	uint64_t off = random_off(), found;
	enum cmfs_seek whence = one_in(2) ? CMFS_SEEK_DATA : CMFS_SEEK_HOLE;
	int r = cmfs_backend_seek(w.d.be, whence, off, &found);

	if (off >= w.m.now.size) {
		assert_int_equal(r, -6); /* ENXIO */
		return;
	}
	if (whence == CMFS_SEEK_HOLE) {
		assert_int_equal(r, 0);
		assert_true(found <= w.m.now.size);
		return;
	}
	for (uint64_t i = off; i < (r == 0 ? found : w.m.now.size); i++)
		assert_int_equal(w.m.now.bytes[i], 0);
}

/* As a switch does it: another opening takes over what is volatile. */
static void do_reopen(void)
{
	struct cmfs_backend *be;

	assert_int_equal(cmfs_backend_reopen(w.d.be, &w.d.be->how, &be, NULL), 0);
	cmfs_backend_close(w.d.be);
	w.d.be = be;
}

static void get_content(struct model_content *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->size = mem_store_size(w.d.store, MEM_NOW);
	assert_true(ret->size <= MODEL_MAX);
	mem_store_read(w.d.store, MEM_NOW, ret->bytes, MODEL_MAX, 0);
}

static void expect_content(const struct model_content *wanted, const struct model_content *got)
{
	assert_int_equal(wanted->size, got->size);
	assert_memory_equal(wanted->bytes, got->bytes, MODEL_MAX);
}

static void do_cut(void)
{
	enum cmfs_powercut_kind kind =
		(enum cmfs_powercut_kind)rnd_below(&w.rnd, CMFS_POWERCUT_PREFIX + 1);
	unsigned int n = model_volatile(&w.m);
	struct cmfs_powercut_summary s = cut_disk_summary(&w.d);
	uint64_t number =
		kind == CMFS_POWERCUT_PREFIX ? rnd_below(&w.rnd, n + 2) : rnd_next(&w.rnd);
	struct model_content wanted, got;

	w.cuts[kind]++;
	assert_int_equal(s.writes + s.others, n);
	cut_disk_cut(&w.d, kind, number);
	get_content(&got);
	switch (kind) {
	case CMFS_POWERCUT_LOSE:
	case CMFS_POWERCUT_PREFIX:
		model_prefix(&w.m, kind == CMFS_POWERCUT_LOSE ? 0 : number, &wanted);
		expect_content(&wanted, &got);
		break;
	case CMFS_POWERCUT_KEEP:
		expect_content(&w.m.now, &got);
		break;
	case CMFS_POWERCUT_RANDOM:
	case CMFS_POWERCUT_TORN:
		model_check_random(&w.m, kind == CMFS_POWERCUT_TORN, &got);
		break;
	}
	assert_true(mem_store_is_durable(w.d.store));
	model_restart(&w.m, &got);
	read_and_compare(0, MODEL_MAX);
}

/* Before a cut the wrapped disk has the durable content and nothing else. */
static void check_durable(void)
{
	struct model_content wanted, got;

	model_prefix(&w.m, 0, &wanted);
	get_content(&got);
	expect_content(&wanted, &got);
	assert_true(mem_store_holds(w.d.store, MEM_DURABLE, 0, wanted.bytes, wanted.size));
}

static void do_something(void)
{
	uint64_t kind = rnd_below(&w.rnd, 1000);

	if (kind < 450)
		do_write();
	else if (kind < 750)
		do_read();
	else if (kind < 800)
		do_truncate();
	else if (kind < 900)
		do_allocate();
	else if (kind < 940)
		do_seek();
	else if (kind < 950)
		do_reopen();
	else if (kind < 970 || model_is_full(&w.m))
		do_flush();
	else if (kind < 985)
		do_cut();
	assert_int_equal(cut_disk_size(&w.d), w.m.now.size);
}

static void walk(const struct mem_config *config, bool direct, uint64_t memory, uint64_t stream)
{
	memset(&w, 0, sizeof(w));
	w.config = *config;
	rnd_init(&w.rnd, stream);
	cut_disk_open(&w.d, config, direct, memory);
	model_init(&w.m, config->size);
	for (int op = 0; op < OPS; op++) {
		do_something();
		if (op % 64 == 0) {
			read_and_compare(0, MODEL_MAX);
			check_durable();
		}
		if (w.m.count > MODEL_OPS - 4)
			do_flush();
	}
	for (unsigned int kind = 0; kind < ARRAY_SIZE(w.cuts); kind++)
		assert_true(w.cuts[kind] > 20);
	model_finish(&w.m);
	cut_disk_close(&w.d);
}

/* One test for each kind of disk, so that a failure names it. */
#define RANDOM_TEST(name, stream, direct, memory, ...)                                             \
	static void test_random_operations_when_##name##_match_the_model(void **state)             \
	{                                                                                          \
		walk(&(const struct mem_config){ __VA_ARGS__ }, direct, memory, stream);           \
	}

RANDOM_TEST(durable_writes_are_native, 1, false, 1 << 20, .fua = CMFS_FUA_NATIVE)
RANDOM_TEST(durable_writes_are_emulated, 2, false, 1 << 20, .fua = CMFS_FUA_EMULATE, .size = 5000)
RANDOM_TEST(data_goes_to_a_file, 3, false, 3000, .fua = CMFS_FUA_NATIVE, .size = 700)
RANDOM_TEST(it_is_direct, 4, true, 0, .direct = { 512, 512, 4096 }, .fua = CMFS_FUA_NATIVE,
	    .size = 5000)
RANDOM_TEST(sectors_are_parts_of_blocks, 5, true, 5000, .direct = { 4096, 512, 4096 },
	    .fua = CMFS_FUA_EMULATE, .size = 700)

/* ---- the same seed, the same content ---- */

/* A history that depends on @stream only, then a cut. */
static void cut_history(uint64_t stream, uint64_t memory, enum cmfs_powercut_kind kind,
			uint64_t number, struct model_content *ret)
{
	memset(&w, 0, sizeof(w));
	w.config = (struct mem_config){ .fua = CMFS_FUA_NATIVE, .size = 6000 };
	rnd_init(&w.rnd, stream);
	cut_disk_open(&w.d, &w.config, false, memory);
	model_init(&w.m, w.config.size);
	for (int i = 0; i < 12; i++)
		do_write();
	do_flush(); /* numbers begin anew */
	for (int i = 0; i < 12; i++) {
		do_write();
		do_allocate();
	}
	cut_disk_cut(&w.d, kind, number);
	get_content(ret);
	model_finish(&w.m);
	cut_disk_close(&w.d);
}

static void test_a_cut_when_seed_and_history_are_the_same_then_content_is(void **state)
{
	static const enum cmfs_powercut_kind kinds[] = { CMFS_POWERCUT_RANDOM, CMFS_POWERCUT_TORN };
	struct model_content a, b;
	unsigned int different = 0;

	for (uint64_t i = 0; i < 100; i++) {
		enum cmfs_powercut_kind kind = kinds[i % 2];

		cut_history(i, 1 << 20, kind, i, &a);
		cut_history(i, 1000, kind, i, &b);
		assert_int_equal(a.size, b.size);
		assert_memory_equal(a.bytes, b.bytes, MODEL_MAX);
		cut_history(i, 1 << 20, kind, i + 1, &b);
		different += memcmp(&a, &b, sizeof(a)) != 0;
	}
	assert_true(different > 95);
}

/* ---- random is random ---- */

#define SECTORS 512

/* Two writes of the same sectors: durable, first and second are one, one and two in four. */
static void test_a_random_cut_when_there_are_many_sectors_keeps_half_of_each_change(void **state)
{
	struct cut_disk d;
	unsigned int counts[3] = { 0 };
	static uint8_t bytes[SECTORS * 512];

	cut_disk_open(&d, &(const struct mem_config){ .size = sizeof(bytes) }, false, 1 << 20);
	for (int i = 0; i < 2; i++)
		for (int part = 0; part < 4; part++)
			assert_int_equal(
				cut_disk_fill(&d, i + 1, 65536, part * 65536, CMFS_VOLATILE), 0);
	cut_disk_cut(&d, CMFS_POWERCUT_RANDOM, 42);
	assert_int_equal(mem_store_read(d.store, MEM_NOW, bytes, sizeof(bytes), 0), sizeof(bytes));
	for (int i = 0; i < SECTORS; i++) {
		for (int j = 1; j < 512; j++)
			assert_int_equal(bytes[i * 512 + j], bytes[i * 512]);
		counts[bytes[i * 512]]++;
	}
	for (int i = 0; i < 2; i++)
		assert_in_range(counts[i], SECTORS / 4 - 50, SECTORS / 4 + 50);
	assert_in_range(counts[2], SECTORS / 2 - 50, SECTORS / 2 + 50);
	cut_disk_close(&d);
}

/* A write that grows, and a truncation: each alone, both or none survives. */
static void test_random_cuts_when_sizes_changed_keep_half_of_the_changes(void **state)
{
	unsigned int counts[4] = { 0 };

	for (uint64_t seed = 0; seed < 400; seed++) {
		struct cut_disk d;

		cut_disk_open(&d, &(const struct mem_config){ .size = 4096 }, false, 1 << 20);
		assert_int_equal(cut_disk_fill(&d, 'a', 512, 8192, CMFS_VOLATILE), 0);
		assert_int_equal(cmfs_backend_truncate(d.be, 8400), 0);
		cut_disk_cut(&d, CMFS_POWERCUT_RANDOM, seed);
		switch (cut_disk_size(&d)) {
		case 4096:
			counts[0]++;
			break;
		case 8704:
			counts[1]++;
			break;
		case 8400:
			counts[2]++;
			break;
		default:
			counts[3]++;
		}
		cut_disk_close(&d);
	}
	assert_in_range(counts[0], 60, 140); /* both lost */
	assert_in_range(counts[1], 60, 140); /* the truncation lost */
	assert_in_range(counts[2], 150, 250);
	assert_int_equal(counts[3], 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(test_random_operations_when_##name##_match_the_model)
	const struct CMUnitTest tests[] = {
		TEST(durable_writes_are_native),
		TEST(durable_writes_are_emulated),
		TEST(data_goes_to_a_file),
		TEST(it_is_direct),
		TEST(sectors_are_parts_of_blocks),
		cmocka_unit_test(test_a_cut_when_seed_and_history_are_the_same_then_content_is),
		cmocka_unit_test(
			test_a_random_cut_when_there_are_many_sectors_keeps_half_of_each_change),
		cmocka_unit_test(test_random_cuts_when_sizes_changed_keep_half_of_the_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
