// SPDX-License-Identifier: GPL-2.0-or-later
#include "gate.h"

#include <assert.h>
#include <stdbool.h>

#define CLOSED 1
#define ONE    2

void cmfs_gate_init(struct cmfs_gate *gate) CMFS_NO_TSA
{
	*gate = (struct cmfs_gate){
		.lock = CMFS_MUTEX_INITIALIZER,
		.opened = PTHREAD_COND_INITIALIZER,
		.drained = PTHREAD_COND_INITIALIZER,
	};
}

void cmfs_gate_finish(struct cmfs_gate *gate)
{
	assert(atomic_load(&gate->state) == 0);
	pthread_cond_destroy(&gate->opened);
	pthread_cond_destroy(&gate->drained);
	pthread_mutex_destroy(&gate->lock.m);
}

/* Wait for the opening that admits us. False: the gate was open after all. */
static bool wait_for_admission(struct cmfs_gate *gate)
{
	uint64_t generation;

	cmfs_mutex_lock(&gate->lock);
	if (!(atomic_load(&gate->state) & CLOSED)) {
		cmfs_mutex_unlock(&gate->lock);
		return false;
	}
	generation = gate->generation;
	gate->waiting++;
	while (gate->generation == generation)
		cmfs_cond_wait(&gate->opened, &gate->lock);
	cmfs_mutex_unlock(&gate->lock);
	return true; /* cmfs_gate_open() counted us in */
}

void cmfs_gate_enter(struct cmfs_gate *gate)
{
	do {
		if (!(atomic_fetch_add(&gate->state, ONE) & CLOSED))
			return;
		cmfs_gate_leave(gate);
	} while (!wait_for_admission(gate));
}

void cmfs_gate_leave(struct cmfs_gate *gate)
{
	uint64_t before = atomic_fetch_sub(&gate->state, ONE);

	assert(before >= ONE);
	if (before == (ONE | CLOSED)) {
		cmfs_mutex_lock(&gate->lock);
		pthread_cond_signal(&gate->drained);
		cmfs_mutex_unlock(&gate->lock);
	}
}

void cmfs_gate_close(struct cmfs_gate *gate)
{
	cmfs_mutex_lock(&gate->lock);
	assert(!(atomic_load(&gate->state) & CLOSED));
	atomic_fetch_or(&gate->state, CLOSED);
	while (atomic_load(&gate->state) != CLOSED)
		cmfs_cond_wait(&gate->drained, &gate->lock);
	cmfs_mutex_unlock(&gate->lock);
}

void cmfs_gate_open(struct cmfs_gate *gate)
{
	cmfs_mutex_lock(&gate->lock);
	assert(atomic_load(&gate->state) & CLOSED);
	atomic_fetch_add(&gate->state, gate->waiting * ONE - CLOSED);
	gate->waiting = 0;
	gate->generation++;
	pthread_cond_broadcast(&gate->opened);
	cmfs_mutex_unlock(&gate->lock);
}
