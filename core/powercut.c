// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The power-cut layer's shared state: who is let in, and the cut itself.
 *
 * A cut first lets whoever is inside finish: what they did is done, and durable if it
 * was to be. Those that wait outside are what was in flight: they stay where they
 * are while one of their writes may be chosen to be torn, and are then sent away.
 */
#include "powercut_private.h"

#include "splitmix64.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct cmfs_powercut *cmfs_powercut_create(uint64_t memory)
{
	struct cmfs_powercut *pc = malloc(sizeof(*pc));

	if (!pc)
		return NULL;
	*pc = (struct cmfs_powercut){
		.lock = CMFS_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
		.last = &pc->first,
		.newest = &pc->oldest,
	};
	cmfs_store_init(&pc->store, memory);
	return pc;
}

void cmfs_powercut_destroy(struct cmfs_powercut *pc)
{
	assert(!pc->openings && !pc->first);
	cmfs_history_forget(pc);
	cmfs_extent_map_finish(&pc->view.map);
	cmfs_store_finish(&pc->store);
	pthread_cond_destroy(&pc->changed);
	pthread_mutex_destroy(&pc->lock.m);
	free(pc);
}

/* ---- admission ---- */

static bool admissible(const struct cmfs_powercut *pc, const struct cmfs_powercut_request *request)
{
	return pc->first == request && !pc->cutting && !pc->exclusive &&
	       !(request->exclusive && pc->shared > 0);
}

static void dequeue(struct cmfs_powercut *pc, const struct cmfs_powercut_request *request)
{
	struct cmfs_powercut_request **at = &pc->first;

	while (*at != request)
		at = &(*at)->next;
	*at = request->next;
	if (!*at)
		pc->last = at;
}

int cmfs_powercut_enter(struct cmfs_powercut *pc, struct cmfs_powercut_request *request)
{
	int r = 0;

	cmfs_mutex_lock(&pc->lock);
	request->next = NULL;
	*pc->last = request;
	pc->last = &request->next;
	while (!atomic_load(&pc->off) && !admissible(pc, request))
		cmfs_cond_wait(&pc->changed, &pc->lock);
	dequeue(pc, request);
	if (atomic_load(&pc->off))
		r = -EIO;
	else if (request->exclusive)
		pc->exclusive = true;
	else
		pc->shared++;
	if (pc->first)
		pthread_cond_broadcast(&pc->changed); /* the next one may share */
	cmfs_mutex_unlock(&pc->lock);
	return r;
}

void cmfs_powercut_leave(struct cmfs_powercut *pc, const struct cmfs_powercut_request *request)
{
	cmfs_mutex_lock(&pc->lock);
	if (request->exclusive)
		pc->exclusive = false;
	else
		pc->shared--;
	if (pc->first || pc->cutting)
		pthread_cond_broadcast(&pc->changed);
	cmfs_mutex_unlock(&pc->lock);
}

int cmfs_powercut_summarize(struct cmfs_powercut *pc, struct cmfs_powercut_summary *ret)
{
	struct cmfs_powercut_request request = { .exclusive = false };
	uint64_t bytes = 0, pos = 0;
	const struct cmfs_extent *e;
	int r = cmfs_powercut_enter(pc, &request);

	if (r < 0)
		return r;
	while ((e = cmfs_extent_map_find(&pc->view.map, pos))) {
		if (e->block)
			bytes += e->end - e->start;
		pos = e->end;
	}
	*ret = (struct cmfs_powercut_summary){
		.writes = pc->writes,
		.others = pc->others,
		.bytes = bytes,
		.since = pc->since,
	};
	cmfs_powercut_leave(pc, &request);
	return 0;
}

/* ---- the cut ---- */

/* Add one of the writes in flight to the history: the last one there, to be torn. */
static int catch_write_locked(struct cmfs_powercut *pc, uint64_t seed)
{
	uint64_t count = 0, chosen;
	struct cmfs_change change = { .kind = CMFS_CHANGE_WRITE };
	const struct cmfs_powercut_request *q;

	for (q = pc->first; q; q = q->next)
		count += q->buf != NULL;
	if (count == 0)
		return 0;
	chosen = cmfs_splitmix64(seed) % count;
	for (q = pc->first; !q->buf || chosen > 0; q = q->next)
		chosen -= q->buf != NULL;
	change.start = q->off;
	change.end = q->off + q->len;
	change.grow_to = change.end > atomic_load(&pc->view.size) ? change.end : 0;
	return cmfs_history_add(pc, &change, q->buf);
}

int cmfs_powercut_off(struct cmfs_powercut *pc, const struct cmfs_powercut_spec *spec)
{
	int r = 0;

	cmfs_mutex_lock(&pc->lock);
	pc->cutting = true;
	while (pc->exclusive || pc->shared > 0)
		cmfs_cond_wait(&pc->changed, &pc->lock);
	pc->spec = *spec;
	if (spec->kind == CMFS_POWERCUT_TORN)
		r = catch_write_locked(pc, spec->number);
	atomic_store(&pc->off, true);
	pthread_cond_broadcast(&pc->changed);
	cmfs_mutex_unlock(&pc->lock);
	return r;
}

int cmfs_powercut_settle(struct cmfs_powercut *pc)
{
	struct cmfs_backend *inner = pc->openings->inner;
	struct cmfs_powercut_view view = { 0 };
	uint64_t size;
	int r;

	assert(atomic_load(&pc->off));
	r = cmfs_backend_size(inner, &size);
	if (r == 0)
		r = cmfs_powercut_survivors(pc, size, &view);
	if (r == 0)
		r = cmfs_view_apply(&view, &pc->store, inner);
	if (r == 0 && !inner->how.readonly)
		r = cmfs_backend_flush(inner, false);
	cmfs_extent_map_finish(&view.map);
	cmfs_history_forget(pc);
	return r;
}

int cmfs_powercut_on(struct cmfs_powercut *pc)
{
	uint64_t size;
	int r = cmfs_backend_size(pc->openings->inner, &size);

	if (r < 0)
		return r;
	cmfs_mutex_lock(&pc->lock);
	atomic_store(&pc->view.size, size);
	pc->cutting = false;
	atomic_store(&pc->off, false);
	cmfs_mutex_unlock(&pc->lock);
	return 0;
}
