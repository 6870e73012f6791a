/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_POWERCUT_H
#define CMFS_POWERCUT_H

#include "cmfs/backend.h"

/*
 * The power-cut layer: a backend that wraps another one and has a volatile write
 * cache, and a switch that cuts the power.
 *
 * What is not durable lives in the layer alone, as an ordered history of changes:
 * writes, changes of the size, ranges made zero or allocated. Reads see them. The
 * wrapped place has nothing but durable content:
 *
 * - a flush applies the history to it, flushes it, and then forgets the history; if
 *   any of it fails, nothing is forgotten (but some may have been applied);
 * - a durable write goes there at once, durably. It does no more: older changes of
 *   other bytes stay volatile, and older ones of the same bytes never come back
 *   over it. Where the wrapped backend emulates durable writes by a flush, so does
 *   the layer;
 * - metadata (owner, times, attributes) is the wrapped place's, and durable at once.
 *
 * A cut (cmfs_powercut_off()) ends with -EIO whatever waits in the layer, and
 * whatever comes later. cmfs_powercut_settle() then makes the wrapped place what
 * survived, durably, and cmfs_powercut_on() begins anew with that.
 *
 * A change counts as one of the history until a flush or one durable write covers
 * all of it. Closing the last opening writes what is left to the wrapped place,
 * unflushed.
 *
 * The data is in memory, and beyond a limit in a nameless file in $TMPDIR or
 * /var/tmp. Errors of the host (no space, too large) show when data gets there:
 * with the flush. Allocated space is not reserved before that either.
 */
struct cmfs_powercut;

/**
 * cmfs_backend_powercut_open() - put the layer over @inner.
 * @memory: bytes of data to keep in memory.
 * @ret: the layer's first opening; owns @inner from here on, if 0 is returned.
 *
 * Errors: -ENOMEM, those of the backend's size(); @err is filled.
 */
int cmfs_backend_powercut_open(struct cmfs_backend *inner, uint64_t memory,
			       struct cmfs_backend **ret, struct cmfs_err *err);

/**
 * cmfs_backend_powercut_state() - what the openings share: what reopen() of @be gives
 * has the same. It lives as long as one of them is open.
 */
struct cmfs_powercut *cmfs_backend_powercut_state(struct cmfs_backend *be);

/* What a cut does to what is not durable. */
enum cmfs_powercut_kind {
	CMFS_POWERCUT_LOSE,   /* all of it is gone */
	CMFS_POWERCUT_KEEP,   /* none of it */
	CMFS_POWERCUT_RANDOM, /* each sector of each change for itself; sizes too */
	CMFS_POWERCUT_TORN,   /* the last write ends in its middle, the rest as RANDOM */
	CMFS_POWERCUT_PREFIX, /* the first changes are there, in order, later ones not */
};

struct cmfs_powercut_spec {
	enum cmfs_powercut_kind kind;
	uint64_t number; /* RANDOM, TORN: seed; PREFIX: how many changes */
};

/* All specs for messages. */
#define CMFS_POWERCUT_SPECS "lose, keep, random:SEED, torn:SEED, prefix:N"

/**
 * cmfs_powercut_spec_parse() - read "lose", "random:17", ... exactly; numbers are
 * decimal, up to 2^64 - 1. Returns 0 or -EINVAL; @ret is untouched on failure.
 */
int cmfs_powercut_spec_parse(const char *text, struct cmfs_powercut_spec *ret);

/* What a cut could change at this moment. */
struct cmfs_powercut_summary {
	uint64_t writes;       /* not durable */
	uint64_t others;       /* other changes: of size, punched, zeroed, allocated */
	uint64_t bytes;	       /* written data that is not durable, each byte once */
	struct timespec since; /* CLOCK_REALTIME of the oldest change, if there is one */
};

/** cmfs_powercut_summarize() - any thread; may wait for a flush. -EIO while off. */
int cmfs_powercut_summarize(struct cmfs_powercut *pc, struct cmfs_powercut_summary *ret);

/**
 * cmfs_powercut_off() - cut the power now.
 *
 * A request that is being done is finished first; those that wait get -EIO, and so
 * do all later ones. With TORN, one of the writes that wait, if there are any,
 * becomes the last write of the history. The same spec on the same history gives the
 * same content: the decisions are a hash of the seed, the change's place in the
 * history and the sector's number.
 *
 * Returns 0 or, with TORN, an error of keeping the write's data; it is off either way.
 * One thread at a time, until cmfs_powercut_on().
 */
int cmfs_powercut_off(struct cmfs_powercut *pc, const struct cmfs_powercut_spec *spec);

/**
 * cmfs_powercut_settle() - make the wrapped place what survived, durably.
 *
 * While off, with an opening there and no request in flight. Returns 0 or an error of
 * the wrapped place: then it holds something in between. The history is gone either
 * way.
 */
int cmfs_powercut_settle(struct cmfs_powercut *pc);

/**
 * cmfs_powercut_on() - serve requests again, on what the wrapped place holds.
 *
 * As cmfs_powercut_settle(). Openings from before the cut work as well: it is the
 * caller who closes them.
 */
int cmfs_powercut_on(struct cmfs_powercut *pc);

#endif
