// SPDX-License-Identifier: GPL-2.0-or-later
/* What the workers know, and what follows from it for the image. */
#include "stress.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 4096 /* checked at a time */

uint64_t rnd_next(struct rnd *rnd)
{
	uint64_t z = rnd->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint32_t rnd_below(struct rnd *rnd, uint32_t n)
{
	return rnd_next(rnd) % n;
}

void broken(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "BROKEN: %s\n", text);
	atomic_fetch_add(&shared->broken, 1);
}

uint64_t tick(void)
{
	return atomic_fetch_add(&shared->clock, 1) + 1;
}

/* ---- modes ---- */

#define ALL_MODES ((1u << 5) - 1)
#define SYNC	  ((1u << 2) | (1u << 3)) /* in the order of mode_names[] in stress.c */
#define UNSAFE	  (1u << 4)

mode_set modes_begin(unsigned int *ret_switches)
{
	*ret_switches = atomic_load(&shared->switches);
	return 1u << atomic_load(&shared->mode) | 1u << atomic_load(&shared->next_mode);
}

mode_set modes_end(mode_set begin, unsigned int switches)
{
	mode_set end = 1u << atomic_load(&shared->mode) | 1u << atomic_load(&shared->next_mode);

	/* One beginning or end has left its mark in the sets; of more we know nothing. */
	return atomic_load(&shared->switches) - switches > 1 ? ALL_MODES : begin | end;
}

bool all_sync(mode_set modes)
{
	return !(modes & ~SYNC);
}

bool all_flush(mode_set modes)
{
	return !(modes & UNSAFE);
}

/* ---- the logs ---- */

struct op *log_op(struct region *region, enum op_kind kind, uint32_t off, uint32_t len,
		  const uint8_t *bytes)
{
	size_t need = bytes ? len : 0;
	struct op *op = &region->log[region->ops];

	if (region->ops == LOG_OPS || need > LOG_BYTES - region->bytes_used) {
		atomic_store(&shared->log_full, true);
		return NULL;
	}
	*op = (struct op){ .kind = kind, .off = off, .len = len };
	if (bytes) {
		op->bytes = memcpy(region->bytes + region->bytes_used, bytes, len);
		region->bytes_used += len;
	}
	region->ops++;
	return op;
}

void ack_op(struct op *op, bool durable)
{
	op->acked = tick();
	op->durable = durable;
}

void note_durable(uint64_t start)
{
	uint64_t old = atomic_load(&shared->durable_until);

	while (old < start && !atomic_compare_exchange_weak(&shared->durable_until, &old, start))
		;
}

/* ---- the check ---- */

/* Which values a byte may have: a bit for each. */
struct possible {
	uint64_t bits[4];
};

static void allow(struct possible *p, uint8_t value)
{
	p->bits[value / 64] |= UINT64_C(1) << value % 64;
}

static bool allowed(const struct possible *p, uint8_t value)
{
	return p->bits[value / 64] >> value % 64 & 1;
}

/* What the operations leave possible in [start, end) of the image. */
static void find_possible(const struct region *region, uint32_t start, uint32_t end, bool lossy,
			  struct possible *ret)
{
	uint64_t durable_until = atomic_load(&shared->durable_until);

	memset(ret, 0, (end - start) * sizeof(*ret));
	for (uint32_t i = start; i < end; i++)
		allow(&ret[i - start], region->initial[i - region->start]);
	for (uint32_t n = 0; n < region->ops; n++) {
		const struct op *op = &region->log[n];
		uint32_t from = op->off > start ? op->off : start;
		uint32_t to = op->off + op->len < end ? op->off + op->len : end;
		bool there = op->acked && (!lossy || op->durable || op->acked < durable_until);

		for (uint32_t i = from; i < to; i++) {
			if (there)
				ret[i - start] = (struct possible){ { 0 } };
			allow(&ret[i - start], op->bytes ? op->bytes[i - op->off] : 0);
		}
	}
}

void explain(const struct region *region, uint32_t at)
{
	uint64_t durable_until = atomic_load(&shared->durable_until);

	fprintf(stderr, "  byte %u was %#x; all before %llu is durable\n", at,
		region->initial[at - region->start], (unsigned long long)durable_until);
	for (uint32_t n = 0; n < region->ops; n++) {
		const struct op *op = &region->log[n];

		if (at < op->off || at >= op->off + op->len)
			continue;
		fprintf(stderr, "  %s %u+%u: %#x, acknowledged at %llu%s\n", op->what, op->off,
			op->len, op->bytes ? op->bytes[at - op->off] : 0,
			(unsigned long long)op->acked, op->durable ? ", durable" : "");
	}
}

static void check_region(const struct region *region, const uint8_t *found, uint64_t size,
			 bool lossy, const char *what)
{
	static struct possible possible[PIECE];
	uint32_t end = size < region->end ? size : region->end;

	for (uint32_t start = region->start; start < end; start += PIECE) {
		uint32_t stop = end - start < PIECE ? end : start + PIECE;

		find_possible(region, start, stop, lossy, possible);
		for (uint32_t i = start; i < stop; i++) {
			if (allowed(&possible[i - start], found[i]))
				continue;
			broken("%s: byte %u is %#x, which it cannot be", what, i, found[i]);
			explain(region, i);
			return;
		}
	}
}

static void begin_region(struct region *region, const uint8_t *found)
{
	memcpy(region->initial, found + region->start, region->end - region->start);
	region->ops = 0;
	region->bytes_used = 0;
}

void check_image(const char *path, bool lossy, const char *what)
{
	static uint8_t found[IMAGE_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct size_range *range = &shared->size;
	struct stat st;
	ssize_t n = 0;
	size_t got = 0;

	memset(found, 0, sizeof(found));
	if (fd < 0 || fstat(fd, &st) < 0) {
		broken("%s: %s cannot be opened: %m", what, path);
		exit(1);
	}
	while (got < sizeof(found) && (n = pread(fd, found + got, sizeof(found) - got, got)) > 0)
		got += n;
	close(fd);
	if (n < 0 || got != (uint64_t)st.st_size)
		broken("%s: %zu of %lld bytes can be read: %m", what, got, (long long)st.st_size);
	if (lossy || range->uncertain ? got < range->min || got > range->max : got != range->now)
		broken("%s: the size is %zu, not %llu (%llu to %llu)", what, got,
		       (unsigned long long)range->now, (unsigned long long)range->min,
		       (unsigned long long)range->max);
	for (int i = 0; i < WORKERS; i++) {
		check_region(&shared->regions[i], found, got, lossy, what);
		begin_region(&shared->regions[i], found);
	}
	*range = (struct size_range){ got, got, got, false };
}
