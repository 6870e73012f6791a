/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_GATE_H
#define CMFS_GATE_H

#include "mutex.h"

#include <stdatomic.h>
#include <stdint.h>

/*
 * The gate admits requests to an image, counts them, and can be closed: then no
 * request is admitted and close returns when those inside have left (drain).
 *
 * Entering an open gate is one atomic add, leaving one atomic subtract. Nobody
 * starves: requests that waited at a closed gate are inside the moment it
 * opens, before it can be closed again; and a closing gate admits nobody new.
 *
 * A thread may be inside two gates (a copy between images) if it enters the one
 * with the lower address first; it never enters a gate it is inside of.
 */
struct cmfs_gate {
	_Atomic uint64_t state; /* number inside * 2 + closed */
	struct cmfs_mutex lock;
	uint64_t waiting;    /* requests at the closed gate; protected by lock */
	uint64_t generation; /* counts openings; protected by lock */
	pthread_cond_t opened;
	pthread_cond_t drained;
};

void cmfs_gate_init(struct cmfs_gate *gate);
void cmfs_gate_finish(struct cmfs_gate *gate); /* nobody inside or waiting */

/* Any thread. Blocks while the gate is closed. */
void cmfs_gate_enter(struct cmfs_gate *gate);
void cmfs_gate_leave(struct cmfs_gate *gate);

/* One closer at a time, not itself inside: the caller has a lock for that. */
void cmfs_gate_close(struct cmfs_gate *gate);
void cmfs_gate_open(struct cmfs_gate *gate);

#endif
