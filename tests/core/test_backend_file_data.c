// SPDX-License-Identifier: GPL-2.0-or-later
/* The file backend's data, cached and direct, exact to the byte (P9, P6). */
#include "harness.h"
#include "host_file.h"

#include "cmfs/image.h"
#include "host_aio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct cmfs_host_options options; /* aio: the one that is tested */

static struct cmfs_image *open_image(const char *path, enum cmfs_cache_mode mode)
{
	struct cmfs_open_how how = cmfs_image_open_how(mode, false);
	struct cmfs_image *image;
	struct cmfs_backend *be;
	struct cmfs_err err = { "" };

	if (cmfs_backend_file_open(path, &how, &options, &be, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(cmfs_image_create(be, mode, &image, NULL), 0);
	return image;
}

static struct cmfs_backend *open_direct(const char *path)
{
	struct cmfs_backend *be;

	assert_int_equal(cmfs_backend_file_open(path, &(struct cmfs_open_how){ .direct = true },
						&options, &be, NULL),
			 0);
	return be;
}

static bool skip_mode(enum cmfs_cache_mode mode)
{
	return cmfs_cache_props(mode)->direct && !host_has_direct();
}

static void skip_without_direct(void)
{
	if (host_has_direct())
		return;
	print_message("skipped: no O_DIRECT in the test directory (see CMFS_TEST_DIR)\n");
	skip();
}

/* ---- random operations against a model ---- */

#define SMALL	  (96 * 1024)
#define SMALL_OPS 250
#define LARGE	  (4 * 1024 * 1024) /* requests that aio= has in parts */
#define LARGE_OPS 25

struct model {
	struct cmfs_image *image;
	struct rnd rnd;
	uint64_t size, max, often; /* the content, at most, and most requests of it */
	uint8_t bytes[LARGE], buf[LARGE + 512];
};

static void model_grow(struct model *m, uint64_t end)
{
	if (end > m->size) {
		memset(m->bytes + m->size, 0, end - m->size);
		m->size = end;
	}
}

static void random_write(struct model *m, uint64_t off, uint64_t len)
{
	uint8_t *buf = m->buf + rnd_below(&m->rnd, 512);
	size_t done;

	rnd_fill(&m->rnd, buf, len);
	assert_int_equal(cmfs_image_write(m->image, buf, len, off,
					  (enum cmfs_durability)rnd_below(&m->rnd, 3), &done),
			 0);
	assert_int_equal(done, len);
	model_grow(m, off + len);
	memcpy(m->bytes + off, buf, len);
}

/* Not every file system can; what it cannot must change nothing. */
static void random_allocate(struct model *m, uint64_t off, uint64_t len)
{
	enum cmfs_alloc what = (enum cmfs_alloc)rnd_below(&m->rnd, 3);
	bool keep_size = what == CMFS_ALLOC_PUNCH || rnd_below(&m->rnd, 2) == 0;
	uint64_t end = off + len;
	int r = cmfs_image_allocate(m->image, what, keep_size, off, len);

	assert_true(r == 0 || r == -EOPNOTSUPP);
	if (r < 0)
		return;
	if (!keep_size)
		model_grow(m, end);
	if (end > m->size)
		end = m->size;
	if (what != CMFS_ALLOC_ALLOCATE && off < end)
		memset(m->bytes + off, 0, end - off);
}

static void random_operation(struct model *m)
{
	uint64_t off = rnd_below(&m->rnd, 2) ? rnd_below(&m->rnd, m->max - 1) : m->size;
	uint64_t len;

	if (off >= m->max)
		off = 0;
	if (rnd_below(&m->rnd, 4) == 0)
		off -= off % 512;
	len = 1 + rnd_below(&m->rnd, rnd_below(&m->rnd, 4) == 0 ? m->max / 5 : m->often);
	if (len > m->max - off)
		len = m->max - off;

	switch (rnd_below(&m->rnd, 6)) {
	case 0:
		assert_int_equal(cmfs_image_truncate(m->image, off), 0);
		model_grow(m, off);
		m->size = off;
		break;
	case 1:
		random_allocate(m, off, len);
		break;
	default:
		random_write(m, off, len);
	}
}

static void check_model(struct model *m, const char *path)
{
	size_t got;

	assert_int_equal(host_file_size(path), m->size);
	assert_int_equal(cmfs_image_read(m->image, m->buf + 3, m->max, 0, &got), 0);
	assert_int_equal(got, m->size);
	assert_memory_equal(m->buf + 3, m->bytes, m->size);
}

static void check_each_mode(uint64_t max, uint64_t often, int ops)
{
	static struct model m;

	for (enum cmfs_cache_mode mode = 0; mode < CMFS_CACHE_MODES; mode++) {
		const char *path = host_file_make("image", 0, 0);

		if (skip_mode(mode))
			continue;
		m.image = open_image(path, mode);
		m.size = 0;
		m.max = max;
		m.often = often;
		rnd_init(&m.rnd, mode);
		for (int i = 0; i < ops; i++) {
			random_operation(&m);
			check_model(&m, path);
		}
		assert_int_equal(cmfs_image_close(m.image), 0);
		assert_true(host_file_holds(path, 0, m.bytes, m.size));
	}
}

static void test_random_operations_in_each_mode_match_the_model(void **state)
{
	check_each_mode(SMALL, 700, SMALL_OPS);
}

static void test_large_random_operations_in_each_mode_match_the_model(void **state)
{
	check_each_mode(LARGE, 2 * 1024 * 1024, LARGE_OPS);
}

static void test_switches_between_random_operations_keep_the_model(void **state)
{
	static struct model m;
	const char *path = host_file_make("image", 0, 0);
	enum cmfs_cache_mode to;

	m.image = open_image(path, CMFS_CACHE_WRITEBACK);
	m.size = 0;
	m.max = SMALL;
	m.often = 700;
	rnd_init(&m.rnd, CMFS_CACHE_MODES);
	for (int i = 0; i < SMALL_OPS; i++) {
		random_operation(&m);
		to = (enum cmfs_cache_mode)rnd_below(&m.rnd, CMFS_CACHE_MODES);
		if (!skip_mode(to))
			assert_int_equal(cmfs_image_set_cache(m.image, to, NULL), 0);
		check_model(&m, path);
	}
	assert_int_equal(cmfs_image_close(m.image), 0);
	assert_true(host_file_holds(path, 0, m.bytes, m.size));
}

/* ---- direct ---- */

static void test_geometry_of_a_direct_file_is_usable(void **state)
{
	struct cmfs_backend *be;

	skip_without_direct();
	be = open_direct(host_file_make("image", 'x', 5000));
	assert_true(be->geo.align >= 512 && (be->geo.align & (be->geo.align - 1)) == 0);
	assert_true(be->geo.mem_align >= 1 && (be->geo.mem_align & (be->geo.mem_align - 1)) == 0);
	assert_true(be->geo.exact_block >= (uint32_t)sysconf(_SC_PAGESIZE));
	assert_int_equal(be->geo.exact_block % be->geo.align, 0);
	cmfs_backend_close(be);
}

static void test_write_exact_at_any_end_is_exact(void **state)
{
	static const uint64_t ends[] = { 1, 511, 512, 513, 4095, 4096, 4097, 5000, 12289 };
	const char *path;
	struct cmfs_backend *be;
	char before[20000];

	skip_without_direct();
	memset(before, 'x', sizeof(before));
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		path = host_file_make("image", 'x', ends[i]);
		be = open_direct(path);
		assert_int_equal(cmfs_backend_write_exact(be, "abc", 3, ends[i], CMFS_DURABLE_DATA),
				 0);
		assert_int_equal(host_file_size(path), ends[i] + 3);
		/* A write inside the content does not cut it. */
		assert_int_equal(cmfs_backend_write_exact(be, "d", 1, 0, CMFS_VOLATILE), 0);
		assert_int_equal(host_file_size(path), ends[i] + 3);
		cmfs_backend_close(be);
		assert_true(host_file_holds(path, 0, "d", 1));
		assert_true(host_file_holds(path, 1, before, ends[i] - 1));
		assert_true(host_file_holds(path, ends[i], "abc", 3));
	}
}

static void test_read_at_the_end_of_a_direct_file_is_short(void **state)
{
	struct cmfs_backend *be;
	char *buf;
	size_t got;

	skip_without_direct();
	buf = aligned_alloc(65536, 65536);
	assert_non_null(buf);
	be = open_direct(host_file_make("image", 'x', 5000));
	assert_int_equal(cmfs_backend_read(be, buf, 65536, 0, &got), 0);
	assert_int_equal(got, 5000);
	assert_int_equal(cmfs_backend_read(be, buf, 65536, 65536, &got), 0);
	assert_int_equal(got, 0);
	cmfs_backend_close(be);
	free(buf);
}

/* ---- seek and copy ---- */

static void test_seek_tells_data_and_the_end(void **state)
{
	struct cmfs_image *image = open_image(host_file_make("image", 'x', 5000), 0);
	uint64_t pos;

	assert_int_equal(cmfs_image_seek(image, CMFS_SEEK_DATA, 100, &pos), 0);
	assert_int_equal(pos, 100);
	assert_int_equal(cmfs_image_seek(image, CMFS_SEEK_HOLE, 100, &pos), 0);
	assert_int_equal(pos, 5000);
	assert_int_equal(cmfs_image_seek(image, CMFS_SEEK_DATA, 5000, &pos), -ENXIO);
	assert_int_equal(cmfs_image_seek(image, CMFS_SEEK_HOLE, 9000, &pos), -ENXIO);
	assert_int_equal(cmfs_image_close(image), 0);
}

static void test_copy_between_files_in_any_modes_is_exact(void **state)
{
	char expected[3000];
	size_t got;

	memset(expected, 'x', sizeof(expected));
	for (int i = 0; i < CMFS_CACHE_MODES * CMFS_CACHE_MODES; i++) {
		enum cmfs_cache_mode from = i % CMFS_CACHE_MODES, to = i / CMFS_CACHE_MODES;
		const char *path = host_file_make("dst", 'y', 100);
		struct cmfs_image *src, *dst;

		if (skip_mode(from) || skip_mode(to))
			continue;
		src = open_image(host_file_make("src", 'x', 5000), from);
		dst = open_image(path, to);
		assert_int_equal(cmfs_image_copy(src, 333, dst, 1111, sizeof(expected), &got), 0);
		assert_int_equal(got, sizeof(expected));
		assert_int_equal(host_file_size(path), 1111 + sizeof(expected));
		assert_int_equal(cmfs_image_close(src), 0);
		assert_int_equal(cmfs_image_close(dst), 0);
		assert_true(host_file_holds(path, 1111, expected, sizeof(expected)));
		assert_true(host_file_holds(path, 0, "yyyy", 4));
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, host_dir_setup, host_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_random_operations_in_each_mode_match_the_model),
		TEST(test_large_random_operations_in_each_mode_match_the_model),
		TEST(test_switches_between_random_operations_keep_the_model),
		TEST(test_geometry_of_a_direct_file_is_usable),
		TEST(test_write_exact_at_any_end_is_exact),
		TEST(test_read_at_the_end_of_a_direct_file_is_short),
		TEST(test_seek_tells_data_and_the_end),
		TEST(test_copy_between_files_in_any_modes_is_exact),
	};

	int failed = 0;

	for (options.aio = 0; options.aio < CMFS_AIOS; options.aio++) {
		if (cmfs_host_aio_check(options.aio, "aio", NULL) == 0)
			failed += cmocka_run_group_tests(tests, NULL, NULL);
	}
	return failed;
}
