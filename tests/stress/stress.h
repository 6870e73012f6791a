/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_STRESS_H
#define CMFS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The stress test: processes that do all that can be done to one image, each in a region
 * of its own, and a controller that switches its mode, breaks it and cuts its power
 * meanwhile. What they know of the image is in memory that they share: for each region
 * what was there at the last check, and a log of everything done since, with what was
 * acknowledged when, and what of it must be durable.
 *
 * Regions meet in the middle of sectors, so that neighbours write the same blocks. The
 * last one ends with the image: only its worker changes the size.
 */
#define WORKERS	    6
#define REGION	    (96 * 1024)
#define TAIL_REGION (2 * REGION) /* of the last worker: room to grow */
#define IMAGE_MAX   ((WORKERS - 1) * REGION + TAIL_REGION + 4096)
#define LOG_OPS	    4096
#define LOG_BYTES   (24u << 20)

enum op_kind {
	OP_WRITE, /* of any kind: its bytes are in the log */
	OP_ZERO,  /* a hole punched, a range zeroed, an end cut off */
};

struct op {
	enum op_kind kind;
	uint32_t off, len; /* in the image */
	const uint8_t *bytes;
	uint64_t acked;	  /* the clock then; 0: in flight, or failed */
	bool durable;	  /* acknowledged as durable by itself */
	const char *what; /* by what call, for messages */
};

/* Written by its worker, read by the controller while the worker is parked. */
struct region {
	uint32_t start, end;
	uint8_t initial[TAIL_REGION]; /* at the last check */
	struct op log[LOG_OPS];
	uint32_t ops;
	uint8_t bytes[LOG_BYTES];
	size_t bytes_used;
};

/* Sizes that the image may have after a power cut; of the last worker. */
struct size_range {
	uint64_t now, min, max;
	bool uncertain; /* a change is in flight, or has failed */
};

/* Modes in force from one moment to another: a bit for each. */
typedef unsigned int mode_set;

struct shared {
	atomic_uint_fast64_t clock;
	atomic_uint_fast64_t durable_until; /* all acknowledged before this is durable */
	atomic_uint mode, next_mode;	    /* they differ during a switch */
	atomic_uint switches;		    /* counts their beginnings and ends */
	atomic_bool park, stop;
	atomic_uint parked;
	atomic_bool breaking;	     /* power, daemon: errors are to be expected */
	atomic_bool faults;	     /* rules for faults have been set: so they are */
	atomic_uint_fast64_t failed; /* the clock when a flush had failed; 0: none has */
	atomic_bool log_full;	     /* a check is wanted, which empties the logs */
	atomic_uint_fast64_t operations, errors;
	atomic_uint broken; /* promises */
	struct size_range size;
	struct region regions[WORKERS];
};

extern struct shared *shared;

/* What the run is like; constant. */
struct setup {
	const char *path; /* of the image in the mount */
	bool layer;	  /* the power can be cut */
	uint64_t seed;
};

/* ---- model.c ---- */

/* A broken promise, in words. The run goes on, and fails in the end. */
void broken(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

uint64_t tick(void);

/* The modes that may have been in force since @switches was read; all if too many. */
mode_set modes_begin(unsigned int *ret_switches);
mode_set modes_end(mode_set begin, unsigned int switches);
bool all_sync(mode_set modes);	/* in each of them what is acknowledged is durable (P1) */
bool all_flush(mode_set modes); /* in each of them a flush is honoured (P2) */

/* Log an operation before it is done; @bytes is copied. NULL: the log is full. */
struct op *log_op(struct region *region, enum op_kind kind, uint32_t off, uint32_t len,
		  const uint8_t *bytes);
void ack_op(struct op *op, bool durable);

/* Say what has touched a byte, for whoever has to find out what went wrong. */
void explain(const struct region *region, uint32_t at);

/* A flush that began at @start has worked. */
void note_durable(uint64_t start);

/*
 * Is the image at @path what the logs allow? @lossy: a power cut, which leaves what is
 * durable, and of everything else any part; otherwise all that was acknowledged is there.
 * What is found is what the next logs begin with. All workers are parked.
 */
void check_image(const char *path, bool lossy, const char *what);

/* ---- worker.c ---- */

/* Work in region @index until shared->stop; never returns otherwise. */
void worker(const struct setup *setup, unsigned int index);

/* ---- random numbers ---- */

struct rnd {
	uint64_t state;
};

uint64_t rnd_next(struct rnd *rnd);
uint32_t rnd_below(struct rnd *rnd, uint32_t n);

#endif
