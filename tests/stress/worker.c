// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One process of the stress test: random operations on its region, each of them logged
 * before it is done and acknowledged behind it, and reads compared with what the last
 * acknowledged writes have put there (P9).
 */
#include "stress.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK	4096 /* what O_DIRECT is aligned to */
#define LEN_MAX 16384

/* The handles that a worker has open, each opened when it is needed. */
enum handle {
	PLAIN,
	DSYNC,
	DIRECT,
	HANDLES,
};

static const int handle_flags[] = { O_RDWR, O_RDWR | O_DSYNC, O_RDWR | O_DIRECT };

static const char *const handle_writes[] = { "write", "write, O_DSYNC", "write, O_DIRECT" };

struct me {
	const struct setup *setup;
	struct region *region;
	struct rnd rnd;
	bool tail; /* its region ends with the image */
	int fd[HANDLES];
	uint8_t now[TAIL_REGION];  /* what a read of the region must give */
	bool unknown[TAIL_REGION]; /* bytes that a failed operation was about */
	uint8_t buf[LEN_MAX + BLOCK] __attribute__((aligned(BLOCK)));
};

static struct me me;

/* ---- handles ---- */

static void close_all(void)
{
	for (int i = 0; i < HANDLES; i++) {
		if (me.fd[i] >= 0)
			close(me.fd[i]);
		me.fd[i] = -1;
	}
}

/* What an error means here: expected while something is being broken, else a find. */
static void failure(const char *what, uint32_t off, uint32_t len)
{
	int error = errno;

	atomic_fetch_add(&shared->errors, 1);
	if (atomic_load(&shared->breaking)) {
		usleep(1000); /* and nothing else will work */
		return;
	}
	if (atomic_load(&shared->faults) || atomic_load(&shared->failed))
		return;
	/* The controller may have begun right after. */
	usleep(100000);
	if (!atomic_load(&shared->breaking))
		broken("%s of %u at %u: %s, without a reason", what, len, off, strerror(error));
}

/*
 * Not of the next boot: what is done to that before the check would be taken for what
 * the cut has left.
 */
static int handle(enum handle which)
{
	if (me.fd[which] < 0) {
		me.fd[which] = open(me.setup->path, handle_flags[which] | O_CLOEXEC);
		if (me.fd[which] < 0)
			failure("open", 0, 0);
	}
	if (me.fd[which] >= 0 && atomic_load(&shared->breaking)) {
		close(me.fd[which]);
		me.fd[which] = -1;
	}
	return me.fd[which];
}

/* ---- acknowledgements ---- */

/* From before an operation to behind it. */
struct window {
	mode_set modes;
	unsigned int switches;
	uint64_t start;
	bool failed; /* the image had, already */
};

static struct window window_begin(void)
{
	struct window w = { .failed = atomic_load(&shared->failed) != 0 };

	w.modes = modes_begin(&w.switches);
	w.start = tick();
	return w;
}

static void window_end(struct window *w)
{
	w->modes = modes_end(w->modes, w->switches);
	atomic_fetch_add(&shared->operations, 1);
}

static void set_failed(const struct window *w)
{
	uint64_t none = 0;

	if (all_flush(w->modes) && !atomic_load(&shared->breaking) && me.setup->layer)
		atomic_compare_exchange_strong(&shared->failed, &none, tick());
}

/* A change has worked. @asked: its handle or flags demand durability (P4). */
static bool is_durable(const struct window *w, bool asked)
{
	return all_sync(w->modes) || (asked && all_flush(w->modes));
}

static void update_now(const struct op *op)
{
	uint32_t at = op->off - me.region->start;

	if (op->bytes)
		memcpy(me.now + at, op->bytes, op->len);
	else
		memset(me.now + at, 0, op->len);
	memset(me.unknown + at, false, op->len);
}

/* The end of @op: @r < 0 with errno, if it failed. */
static void settle(struct op *op, struct window *w, bool asked, int r, const char *what)
{
	window_end(w);
	op->what = what;
	if (r < 0) {
		memset(me.unknown + (op->off - me.region->start), true, op->len);
		failure(what, op->off, op->len);
		return;
	}
	if (w->failed && all_sync(w->modes) && !atomic_load(&shared->breaking) &&
	    atomic_load(&shared->failed))
		broken("%s of %u at %u worked in a sync mode, after a flush had failed (P5)", what,
		       op->len, op->off);
	ack_op(op, is_durable(w, asked));
	update_now(op);
}

/* A durable write that fails is as a flush that does. */
static void settle_write(struct op *op, struct window *w, bool asked, int r, const char *what)
{
	settle(op, w, asked, r, what);
	if (r < 0 && is_durable(w, asked))
		set_failed(w);
}

/* ---- places ---- */

static uint32_t end_now(void)
{
	uint32_t end = me.region->end;

	return me.tail && shared->size.now < end ? (uint32_t)shared->size.now : end;
}

static void some_place(uint32_t end, uint32_t *ret_off, uint32_t *ret_len)
{
	static const uint32_t most[] = { 16, 600, 5000, LEN_MAX };
	uint32_t start = me.region->start;
	uint32_t off = start + rnd_below(&me.rnd, end - start);
	uint32_t len = 1 + rnd_below(&me.rnd, most[rnd_below(&me.rnd, 4)]);

	if (rnd_below(&me.rnd, 4) == 0 && off / 512 * 512 >= start)
		off = off / 512 * 512;
	*ret_off = off;
	*ret_len = off + len < end ? len : end - off;
}

/* Whole blocks inside the region. */
static void some_blocks(uint32_t *ret_off, uint32_t *ret_len)
{
	uint32_t first = (me.region->start + BLOCK - 1) / BLOCK, last = end_now() / BLOCK;
	uint32_t at = first + rnd_below(&me.rnd, last - first);
	uint32_t count = 1 + rnd_below(&me.rnd, LEN_MAX / BLOCK);

	*ret_off = at * BLOCK;
	*ret_len = (at + count < last ? count : last - at) * BLOCK;
}

static void fill(uint32_t len)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < len; i++) {
		if (i % 8 == 0)
			value = rnd_next(&me.rnd);
		me.buf[i] = (uint8_t)(value >> i % 8 * 8);
	}
}

/* ---- operations ---- */

static int write_whole(int fd, uint32_t off, uint32_t len, int flags)
{
	struct iovec iov = { me.buf, len };
	ssize_t n = pwritev2(fd, &iov, 1, off, flags);

	if (n >= 0 && n != (ssize_t)len)
		errno = EMSGSIZE; /* a short write of a file is an error, too */
	return n == (ssize_t)len ? 0 : -1;
}

static void do_write(enum handle which, int rwf, bool blocks)
{
	uint32_t off, len;
	int fd = handle(which);
	struct window w;
	struct op *op;

	if (blocks)
		some_blocks(&off, &len);
	else
		some_place(end_now(), &off, &len);
	fill(len);
	op = fd >= 0 ? log_op(me.region, OP_WRITE, off, len, me.buf) : NULL;
	if (!op)
		return;
	w = window_begin();
	settle_write(op, &w, which == DSYNC || rwf, write_whole(fd, off, len, rwf),
		     handle_writes[which]);
}

static void write_plain(void)
{
	do_write(PLAIN, 0, false);
}

static void write_dsync(void)
{
	do_write(DSYNC, 0, false);
}

static void write_direct(void)
{
	do_write(DIRECT, 0, true);
}

static void write_rwf(void)
{
	do_write(PLAIN, RWF_DSYNC, false);
}

static void do_read(enum handle which, bool blocks)
{
	uint32_t off, len;
	int fd = handle(which);
	ssize_t n;

	if (blocks)
		some_blocks(&off, &len);
	else
		some_place(end_now(), &off, &len);
	if (fd < 0)
		return;
	n = pread(fd, me.buf, len, off);
	atomic_fetch_add(&shared->operations, 1);
	if (n != (ssize_t)len) {
		if (n >= 0)
			errno = EMSGSIZE;
		failure("read", off, len);
		return;
	}
	for (uint32_t i = 0; i < len; i++) {
		uint32_t at = off - me.region->start + i;

		if (me.buf[i] == me.now[at] || me.unknown[at])
			continue;
		if (atomic_load(&shared->breaking))
			return; /* it may be the next boot's already */
		broken("read of %u at %u by handle %d: byte %u is %#x, not %#x (P9)", len, off,
		       which, off + i, me.buf[i], me.now[at]);
		explain(me.region, off + i);
		return;
	}
}

static void read_plain(void)
{
	do_read(PLAIN, false);
}

static void read_direct(void)
{
	do_read(DIRECT, true);
}

static void do_fsync(void)
{
	int fd = handle(PLAIN), r;
	struct window w;

	if (fd < 0)
		return;
	w = window_begin();
	r = rnd_below(&me.rnd, 2) ? fsync(fd) : fdatasync(fd);
	window_end(&w);
	if (r < 0) {
		failure("fsync", 0, 0);
		set_failed(&w);
	} else if (all_flush(w.modes)) {
		if (w.failed && atomic_load(&shared->failed) && !atomic_load(&shared->breaking))
			broken("fsync worked after one had failed (P5)");
		note_durable(w.start);
	}
}

static void do_fallocate(int mode)
{
	uint32_t off, len;
	int fd = handle(PLAIN);
	struct window w;
	struct op *op;

	some_place(end_now(), &off, &len);
	op = fd >= 0 ? log_op(me.region, OP_ZERO, off, len, NULL) : NULL;
	if (!op)
		return;
	w = window_begin();
	settle(op, &w, false, fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, off, len), "fallocate");
}

static void do_punch(void)
{
	do_fallocate(FALLOC_FL_PUNCH_HOLE);
}

static void do_zero(void)
{
	do_fallocate(FALLOC_FL_ZERO_RANGE);
}

static void do_copy(void)
{
	uint32_t from, to, len, len2;
	int fd = handle(PLAIN);
	off_t in, out;
	struct window w;
	struct op *op;
	ssize_t n;

	some_place(end_now(), &from, &len);
	some_place(end_now(), &to, &len2);
	len = len < len2 ? len : len2;
	if (fd < 0 || (from < to + len && to < from + len))
		return;
	for (uint32_t i = 0; i < len; i++) {
		if (me.unknown[from - me.region->start + i])
			return;
	}
	op = log_op(me.region, OP_WRITE, to, len, me.now + (from - me.region->start));
	if (!op)
		return;
	in = from;
	out = to;
	w = window_begin();
	n = copy_file_range(fd, &in, fd, &out, len, 0);
	if (n >= 0 && n < (ssize_t)len)
		errno = EIO; /* as far as it came: the rest is as after a failure */
	settle(op, &w, false, n == (ssize_t)len ? 0 : -1, "copy_file_range");
}

/* ---- mappings ---- */

static sigjmp_buf bus_error;

static void on_bus_error(int sig)
{
	siglongjmp(bus_error, 1);
}

/* Store through a mapping, and msync it. */
static int store(int fd, uint32_t off, uint32_t len)
{
	uint32_t start = off / BLOCK * BLOCK, size = off + len - start;
	uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, start);
	volatile int r = -1;

	if (map == MAP_FAILED)
		return -1;
	if (sigsetjmp(bus_error, 1) == 0) {
		memcpy(map + (off - start), me.buf, len);
		r = msync(map, size, MS_SYNC);
	} else {
		errno = EIO;
	}
	munmap(map, size);
	return r;
}

static void do_store(void)
{
	uint32_t off, len;
	int fd = handle(PLAIN);
	struct window w;
	struct op *op;
	int r;

	some_place(end_now(), &off, &len);
	fill(len);
	op = fd >= 0 ? log_op(me.region, OP_WRITE, off, len, me.buf) : NULL;
	if (!op)
		return;
	w = window_begin();
	r = store(fd, off, len);
	if (r < 0 && errno == ENODEV) {
		me.region->ops--;
		return;
	}
	/* msync is a flush of what the mapping has dirtied, in all modes that honour one. */
	settle(op, &w, true, r, "msync");
	if (r < 0)
		set_failed(&w);
	else if (all_flush(w.modes))
		note_durable(w.start);
}

/* ---- the end of the image ---- */

static void resize_begin(uint64_t size)
{
	struct size_range *s = &shared->size;

	s->uncertain = true;
	if (size < s->min)
		s->min = size;
	if (size > s->max)
		s->max = size;
}

static void resize_end(const struct op *op, uint64_t size)
{
	struct size_range *s = &shared->size;
	struct stat st;

	if (op->acked) {
		s->now = size;
		s->uncertain = false;
		if (op->durable)
			s->min = s->max = size;
	} else if (!atomic_load(&shared->breaking) && handle(PLAIN) >= 0 &&
		   fstat(me.fd[PLAIN], &st) == 0 && !atomic_load(&shared->breaking)) {
		if (st.st_size != (off_t)s->now && st.st_size != (off_t)size)
			broken("after a failure the size is %lld, neither %llu nor %llu (P9)",
			       (long long)st.st_size, (unsigned long long)s->now,
			       (unsigned long long)size);
		s->now = st.st_size;
	}
}

static void do_truncate(void)
{
	uint32_t start = me.region->start, end = me.region->end;
	uint32_t size = start + REGION / 2 + rnd_below(&me.rnd, TAIL_REGION - REGION / 2);
	int fd = handle(PLAIN);
	struct window w;
	struct op *op;

	if (size >= shared->size.now && rnd_below(&me.rnd, 2))
		return;
	op = fd >= 0 ? log_op(me.region, OP_ZERO, size, end - size, NULL) : NULL;
	if (!op)
		return;
	resize_begin(size);
	w = window_begin();
	settle(op, &w, false, ftruncate(fd, size), "truncate");
	resize_end(op, size);
}

/* Beyond the end, or over it: what lies between is zeroes, which the log has already. */
static void do_append(void)
{
	uint32_t off = shared->size.now + rnd_below(&me.rnd, 3) * rnd_below(&me.rnd, 5000);
	uint32_t len = 1 + rnd_below(&me.rnd, 5000);
	int fd = handle(PLAIN);
	struct window w;
	struct op *op;

	if (fd < 0 || off + len > me.region->end)
		return;
	fill(len);
	op = log_op(me.region, OP_WRITE, off, len, me.buf);
	if (!op)
		return;
	resize_begin(off + len);
	w = window_begin();
	settle_write(op, &w, false, write_whole(fd, off, len, 0), "append");
	resize_end(op, off + len);
}

static void do_stat(void)
{
	int fd = handle(PLAIN);
	struct stat st;

	if (fd >= 0 && !shared->size.uncertain && fstat(fd, &st) == 0 &&
	    st.st_size != (off_t)shared->size.now && !atomic_load(&shared->breaking))
		broken("the size is %lld, not %llu (P9)", (long long)st.st_size,
		       (unsigned long long)shared->size.now);
}

static void do_close(void)
{
	int which = rnd_below(&me.rnd, HANDLES);

	if (me.fd[which] >= 0)
		close(me.fd[which]);
	me.fd[which] = -1;
}

/* ---- the whole ---- */

static const struct {
	unsigned int weight;
	void (*run)(void);
	bool tail; /* of the last worker only */
} operations[] = {
	{ 30, write_plain },	  { 8, write_dsync },	  { 12, write_direct }, { 4, write_rwf },
	{ 20, read_plain },	  { 8, read_direct },	  { 8, do_fsync },	{ 6, do_store },
	{ 4, do_punch },	  { 4, do_zero },	  { 3, do_copy },	{ 5, do_close },
	{ 4, do_truncate, true }, { 6, do_append, true }, { 4, do_stat, true },
};

static void step(void)
{
	unsigned int n = rnd_below(&me.rnd, 126), i = 0;

	while (n >= operations[i].weight) {
		n -= operations[i].weight;
		i = (i + 1) % (sizeof(operations) / sizeof(operations[0]));
	}
	if (!operations[i].tail || me.tail)
		operations[i].run();
}

/* Wait without a handle until a check is done; then begin with what it has found. */
static void wait_parked(void)
{
	close_all();
	atomic_fetch_add(&shared->parked, 1);
	while (atomic_load(&shared->park) && !atomic_load(&shared->stop))
		usleep(1000);
	atomic_fetch_sub(&shared->parked, 1);
	memcpy(me.now, me.region->initial, sizeof(me.now));
	memset(me.unknown, false, sizeof(me.unknown));
}

void worker(const struct setup *setup, unsigned int index)
{
	me = (struct me){
		.setup = setup,
		.region = &shared->regions[index],
		.rnd = { setup->seed * WORKERS + index },
		.tail = index == WORKERS - 1,
		.fd = { -1, -1, -1 },
	};
	signal(SIGBUS, on_bus_error);
	memcpy(me.now, me.region->initial, sizeof(me.now));
	while (!atomic_load(&shared->stop)) {
		if (atomic_load(&shared->park))
			wait_parked();
		else if (atomic_load(&shared->log_full))
			usleep(1000); /* a check will come */
		else
			step();
	}
	close_all();
	_exit(0);
}
