/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_ROSTER_H
#define CMFS_ROSTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Which worker does what: reads (waits at the device for a request), serves one,
 * or is parked. Nothing here blocks; workers.c has the threads.
 *
 * - Few read at a time. Whoever takes a request and leaves nobody behind to read
 *   calls a parked worker; whoever is done reads if there is room, else parks.
 * - The lowest number is called first, so that under a light load a few workers,
 *   with warm caches, do it all, and the others own no memory.
 * - A big request is one that fills its worker's buffer with more than a few
 *   pages. While big_max of them are served nobody goes to read, which bounds the
 *   memory: it is from then on the kernel that keeps them waiting. Workers that
 *   read already may still bring big ones: readers_max - 1 more.
 *
 * The last rule must not make requests wait for each other. What a request waits
 * for is the host, another request that is served already (the ranges it locks),
 * or a switch's closed gate; a switch holds the gate for as long as host calls
 * take and needs nothing served meanwhile (it invalidates the kernel's pages, which
 * does need requests served, after the gate has opened again). So each big request
 * ends without help from one that is not read yet, and its worker reads next.
 * But it may take long, and other images' requests should not: whoever watches
 * calls cmfs_roster_tick() now and then, and if none of the big ones ended between
 * two ticks the bound is off until one does. Memory is given for progress then, up
 * to what all workers' buffers take.
 */

#define CMFS_ROSTER_WORKERS_MAX 32

/* For what returns a worker's number. */
#define CMFS_ROSTER_NOBODY (-1)

struct cmfs_roster {
	_Atomic uint64_t state; /* see roster.c */
	unsigned int readers_max, big_max;
};

/** cmfs_roster_init() - workers 0 to @workers - 1, all parked. Others' threads: none yet. */
void cmfs_roster_init(struct cmfs_roster *roster, unsigned int workers, unsigned int readers_max,
		      unsigned int big_max);

/*
 * The rest is for any thread. Where a worker's number is returned, that worker was
 * parked and has been counted as one that reads: make it do so, or, if there is no
 * way, say cmfs_roster_refuse().
 */

/** cmfs_roster_call() - one worker more to read, or nobody if none is parked. */
int cmfs_roster_call(struct cmfs_roster *roster);
void cmfs_roster_refuse(struct cmfs_roster *roster, int worker);

/**
 * cmfs_roster_take() - a worker that read has got a request.
 * @ret_full: now as many big ones are served as may be: have somebody tick.
 *
 * Returns whom to call.
 */
int cmfs_roster_take(struct cmfs_roster *roster, bool big, bool *ret_full);

/**
 * cmfs_roster_done() - @worker has served what it took.
 *
 * Returns true if it shall read, false if it is parked now.
 */
bool cmfs_roster_done(struct cmfs_roster *roster, int worker, bool big);

/**
 * cmfs_roster_tick() - some time has passed since cmfs_roster_take() said "full" or
 * since the last tick.
 * @ret_full: ticks are still needed.
 *
 * Returns whom to call.
 */
int cmfs_roster_tick(struct cmfs_roster *roster, bool *ret_full);

#endif
