// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A sequence of requests to an image on a memory disk (mem_backend.h), switches of its
 * mode and failures of the disk among them, against what the promises leave open:
 *
 * P1, P2, P4, P7: what is to be durable is in the disk's durable content;
 * P5: an image that failed reports no success of a flush any more;
 * P9: each byte and the size are what was acknowledged; what fails changes nothing
 *     beside the blocks that it was about.
 */
#include "cmfs/image.h"
#include "fuzz.h"

#include "image_util.h"

#include <errno.h>

#define MAX	  16384 /* no request begins or ends beyond it */
#define BLOCK	  4096	/* what a failed request may leave undefined */
#define MAX_STEPS 100

struct run {
	struct mem_image m;
	struct fuzz_input in;
	uint8_t content[MAX + 1];
	uint64_t size;
	bool armed; /* the disk may fail a request */
	uint8_t buf[MAX + 1];
};

static const struct cmfs_cache_props *props(struct run *run)
{
	return cmfs_cache_props(cmfs_image_cache(run->m.image));
}

static bool failed(struct run *run)
{
	struct cmfs_failure failure;

	return cmfs_image_failure(run->m.image, &failure);
}

/* Places that are close to each other, to borders of blocks and to the end. */
static uint64_t some_off(struct run *run)
{
	uint16_t n = fuzz_u16(&run->in);

	switch (fuzz_byte(&run->in) % 4) {
	case 0:
		return n % 1024;
	case 1:
		return n / 512 * 512 % MAX;
	case 2:
		return (run->size + n % 1024) % MAX;
	default:
		return n % MAX;
	}
}

static uint64_t some_len(struct run *run, uint64_t off)
{
	uint64_t len = fuzz_u16(&run->in) % (fuzz_byte(&run->in) % 8 ? 700 : 9000) + 1;

	return off + len > MAX ? MAX - off : len;
}

/* Beside the blocks of [off, off + len) nothing has changed; inside, what is there holds. */
static void resync(struct run *run, uint64_t off, uint64_t len)
{
	uint64_t size = mem_store_size(run->m.store, MEM_NOW);
	uint64_t both = size < run->size ? size : run->size;
	uint64_t start = off / BLOCK * BLOCK, end = (off + len + BLOCK - 1) / BLOCK * BLOCK;

	FUZZ_CHECK(size <= MAX, "grew to %ju", (uintmax_t)size);
	memset(run->buf, 0, sizeof(run->buf));
	mem_store_read(run->m.store, MEM_NOW, run->buf, size, 0);
	FUZZ_CHECK(memcmp(run->buf, run->content, start < both ? start : both) == 0,
		   "a failure changed what is before it");
	FUZZ_CHECK(end >= both || memcmp(run->buf + end, run->content + end, both - end) == 0,
		   "a failure changed what is behind it");
	memcpy(run->content, run->buf, sizeof(run->buf));
	run->size = size;
}

/*
 * The result of a request that changes [off, off + len): done, or failed for a reason.
 * Returns true if it was done.
 */
static bool settle(struct run *run, const char *what, int r, bool durable, uint64_t off,
		   uint64_t len)
{
	if (r == 0) {
		FUZZ_CHECK(!durable || !failed(run), "%s: durable on a failed image (P5)", what);
		return true;
	}
	FUZZ_CHECK(run->armed || (durable && failed(run)), "%s: error %d without a reason", what,
		   r);
	resync(run, off, len);
	return false;
}

/* In a sync mode nothing that was acknowledged can be lost (P1). */
static void expect_durable(struct run *run, const char *what)
{
	if (props(run)->dsync && !failed(run))
		FUZZ_CHECK(mem_store_is_durable(run->m.store), "%s: not durable in %s", what,
			   props(run)->name);
}

/* Bytes that differ from their neighbours, to begin anywhere in the first 256. */
static const uint8_t *pattern(void)
{
	static uint8_t bytes[256 + MAX];

	for (size_t i = 0; bytes[1] == 0 && i < sizeof(bytes); i++)
		bytes[sizeof(bytes) - 1 - i] = (uint8_t)((sizeof(bytes) - 1 - i) * 7);
	return bytes;
}

static void do_write(struct run *run)
{
	uint64_t off = some_off(run), len = some_len(run, off);
	enum cmfs_durability asked = fuzz_byte(&run->in) % 3;
	bool durable = props(run)->dsync || (asked != CMFS_VOLATILE && props(run)->flush);
	int fill = fuzz_byte(&run->in), r;
	size_t done;

	if (len == 0)
		return;
	memcpy(run->buf, pattern() + fill, len);
	r = cmfs_image_write(run->m.image, run->buf, len, off, asked, &done);
	if (!settle(run, "write", r, durable, off, len))
		return;
	FUZZ_CHECK(done == len, "wrote %zu of %ju", done, (uintmax_t)len);
	memcpy(run->content + off, run->buf, len);
	if (off + len > run->size)
		run->size = off + len;
	if (durable)
		FUZZ_CHECK(mem_store_holds(run->m.store, MEM_DURABLE, off, run->buf, len),
			   "a durable write is not (P1, P4)");
	expect_durable(run, "write");
}

static void do_read(struct run *run)
{
	uint64_t off = some_off(run), len = some_len(run, off);
	uint64_t there = off < run->size ? run->size - off : 0;
	size_t got;
	int r;

	if (len == 0)
		return;
	r = cmfs_image_read(run->m.image, run->buf, len, off, &got);
	if (r < 0) {
		FUZZ_CHECK(run->armed, "read: error %d", r);
		return;
	}
	FUZZ_CHECK(got == (len < there ? len : there), "read %zu of %ju", got, (uintmax_t)len);
	FUZZ_CHECK(memcmp(run->buf, run->content + off, got) == 0, "other bytes at %ju (P9)",
		   (uintmax_t)off);
}

static void do_flush(struct run *run)
{
	bool was_failed = failed(run), honoured = props(run)->flush;
	int r = cmfs_image_flush(run->m.image, fuzz_byte(&run->in) % 2);

	if (!honoured) {
		FUZZ_CHECK(r == 0, "a flush in unsafe failed: %d (P3)", r);
		return;
	}
	FUZZ_CHECK(!was_failed || r == -EIO, "a flush of a failed image: %d (P5)", r);
	FUZZ_CHECK(r == 0 || run->armed || was_failed, "flush: error %d", r);
	FUZZ_CHECK(r == 0 || failed(run), "a flush failed, the image did not (P5)");
	if (r == 0)
		FUZZ_CHECK(mem_store_is_durable(run->m.store), "flushed, not durable (P2)");
}

static void do_truncate(struct run *run)
{
	uint64_t size = some_off(run);
	int r = cmfs_image_truncate(run->m.image, size);

	if (!settle(run, "truncate", r, props(run)->dsync, size < run->size ? size : run->size,
		    MAX))
		return;
	if (size < run->size)
		memset(run->content + size, 0, run->size - size);
	run->size = size;
	expect_durable(run, "truncate");
}

static void do_allocate(struct run *run)
{
	uint64_t off = some_off(run), len = some_len(run, off);
	enum cmfs_alloc what = fuzz_byte(&run->in) % 3;
	bool keep_size = what == CMFS_ALLOC_PUNCH || fuzz_byte(&run->in) % 2;
	int r;

	if (len == 0)
		return;
	r = cmfs_image_allocate(run->m.image, what, keep_size, off, len);
	if (!settle(run, "allocate", r, props(run)->dsync, off < run->size ? off : run->size, MAX))
		return;
	if (what != CMFS_ALLOC_ALLOCATE)
		memset(run->content + off, 0, len);
	if (!keep_size && off + len > run->size)
		run->size = off + len;
	memset(run->content + run->size, 0, sizeof(run->content) - run->size);
	expect_durable(run, "allocate");
}

static void do_copy(struct run *run)
{
	uint64_t src = some_off(run), dst = some_off(run), len = some_len(run, dst);
	size_t done = 0;
	int r;

	if (len == 0)
		return;
	r = cmfs_image_copy(run->m.image, src, run->m.image, dst, len, &done);
	if (src < dst + len && dst < src + len) {
		FUZZ_CHECK(r == -EINVAL, "a copy onto itself: %d", r);
		return;
	}
	if (!settle(run, "copy", r, props(run)->dsync, dst, len))
		return;
	FUZZ_CHECK(done <= len && (done == 0 || src + done <= run->size), "copied %zu", done);
	memmove(run->content + dst, run->content + src, done);
	if (done > 0 && dst + done > run->size)
		run->size = dst + done;
	if (done < len) /* the rest may have failed in its middle */
		resync(run, dst, len);
	expect_durable(run, "copy");
}

static void do_seek(struct run *run)
{
	uint64_t off = some_off(run), found;
	int r = cmfs_image_seek(run->m.image, fuzz_byte(&run->in) % 2, off, &found);

	if (run->armed && r < 0)
		return;
	FUZZ_CHECK(r == (off < run->size ? r == -ENXIO ? -ENXIO : 0 : -ENXIO), "seek: %d", r);
	if (r == 0)
		FUZZ_CHECK(found >= off && found <= run->size, "found %ju", (uintmax_t)found);
}

static void do_switch(struct run *run)
{
	enum cmfs_cache_mode before = cmfs_image_cache(run->m.image);
	enum cmfs_cache_mode mode = fuzz_byte(&run->in) % CMFS_CACHE_MODES;
	bool was_failed = failed(run), flushes = cmfs_cache_props(mode)->flush;
	struct cmfs_err err = { "" };
	int r = cmfs_image_set_cache(run->m.image, mode, &err);

	FUZZ_CHECK(cmfs_image_cache(run->m.image) == (r == 0 ? mode : before), "switch: %d (P7)",
		   r);
	if (r < 0) {
		FUZZ_CHECK(run->armed || (was_failed && flushes), "switch: error %d: %s", r,
			   err.msg);
		FUZZ_CHECK(err.msg[0], "switch: error %d without a word", r);
		return;
	}
	FUZZ_CHECK(!was_failed || !flushes, "a failed image was switched to %s (P5)",
		   cmfs_cache_props(mode)->name);
	if (flushes && !failed(run))
		FUZZ_CHECK(mem_store_is_durable(run->m.store), "switched, not durable (P7)");
}

/* Offsets and lengths that nobody has: refused, whatever they are (no overflow). */
static void do_absurd(struct run *run)
{
	static const uint64_t offs[] = { INT64_MAX,	  INT64_MAX - 1,
					 INT64_MAX - 511, (uint64_t)INT64_MAX + 1,
					 UINT64_MAX,	  UINT64_MAX - 4095 };
	uint64_t off = offs[fuzz_byte(&run->in) % 6];
	size_t done;

	FUZZ_CHECK(cmfs_image_write(run->m.image, run->buf, 600, off, CMFS_VOLATILE, &done) < 0,
		   "write");
	FUZZ_CHECK(cmfs_image_allocate(run->m.image, CMFS_ALLOC_ZERO, false, off, 600) < 0, "zero");
	FUZZ_CHECK(cmfs_image_copy(run->m.image, 0, run->m.image, off, 600, &done) < 0, "copy");
	FUZZ_CHECK(cmfs_image_truncate(run->m.image, off) < 0, "truncate");
	FUZZ_CHECK(cmfs_image_read(run->m.image, run->buf, 600, off, &done) < 0 || done == 0,
		   "read");
}

static void do_arm(struct run *run)
{
	static const enum mem_op ops[] = { MEM_REOPEN, MEM_READ,     MEM_WRITE,	   MEM_WRITE_EXACT,
					   MEM_FLUSH,  MEM_TRUNCATE, MEM_ALLOCATE, MEM_SEEK };
	uint8_t n = fuzz_byte(&run->in);

	mem_disk_fail(run->m.disk, ops[n % 8], n / 8 % 4, 1 + n / 32 % 4, n & 1 ? -EIO : -ENOSPC);
	run->armed = true;
}

static void (*const steps[])(struct run *run) = {
	do_write,    do_write, do_write, do_read,   do_flush,  do_truncate,
	do_allocate, do_copy,  do_seek,	 do_switch, do_absurd, do_arm,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run run = { .in = { data, size } };
	struct mem_config config = mem_kinds[fuzz_byte(&run.in) % MEM_KINDS];
	enum cmfs_cache_mode mode = fuzz_byte(&run.in) % CMFS_CACHE_MODES;
	bool was_failed, flushes;
	int r;

	mem_image_open(&run.m, mode, &config);
	for (int i = 0; i < MAX_STEPS && run.in.size > 0; i++)
		steps[fuzz_byte(&run.in) % (sizeof(steps) / sizeof(steps[0]))](&run);
	FUZZ_CHECK(mem_store_size(run.m.store, MEM_NOW) == run.size, "size %ju, not %ju (P9)",
		   (uintmax_t)mem_store_size(run.m.store, MEM_NOW), (uintmax_t)run.size);
	FUZZ_CHECK(mem_store_holds(run.m.store, MEM_NOW, 0, run.content, run.size), "content (P9)");
	was_failed = failed(&run);
	flushes = props(&run)->flush;
	r = mem_image_close(&run.m);
	FUZZ_CHECK(!was_failed || !flushes || r < 0, "a failed image ended well (P12)");
	if (flushes && r == 0)
		FUZZ_CHECK(mem_store_is_durable(run.m.store), "ended, not durable (P12)");
	mem_disk_destroy(run.m.disk);
	return 0;
}
