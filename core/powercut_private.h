/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_POWERCUT_PRIVATE_H
#define CMFS_POWERCUT_PRIVATE_H

#include "cmfs/powercut.h"
#include "extent_map.h"
#include "mutex.h"
#include "powercut_store.h"

#include <stdatomic.h>

/* Shared by powercut*.c and backend_powercut.c, and by nobody else. */

#define CMFS_POWERCUT_SECTOR 512

enum cmfs_change_kind {
	CMFS_CHANGE_WRITE,
	CMFS_CHANGE_ZERO,
	CMFS_CHANGE_ALLOCATE,
	CMFS_CHANGE_TRUNCATE,
	/* Not volatile, a durable write: older changes end here, whatever became of them. */
	CMFS_CHANGE_DURABLE,
};

/* One change of the history. */
struct cmfs_change {
	struct cmfs_change *next;
	uint64_t number; /* place in the history, from 0; stays when older ones are dropped */
	enum cmfs_change_kind kind;
	uint64_t start, end;	  /* bytes; TRUNCATE: what it cuts off, without an end */
	uint64_t grow_to;	  /* moves the end of the content there; 0: does not move it */
	enum cmfs_alloc zeroes;	  /* ZERO: punched or zeroed */
	struct cmfs_block *block; /* WRITE */
};

/* Content as seen from above: the wrapped place's with some changes over it. */
struct cmfs_powercut_view {
	struct cmfs_extent_map map;
	_Atomic uint64_t size; /* atomic, as it is also looked at without admission */
};

/*
 * A request waiting for admission, on its stack. First come, first served, except
 * that those that share are in together.
 */
struct cmfs_powercut_request {
	struct cmfs_powercut_request *next;
	bool exclusive;
	const void *buf; /* of a write; else NULL */
	size_t len;
	uint64_t off;
};

/* One opening of the layer. */
struct cmfs_powercut_opening {
	struct cmfs_backend base;
	struct cmfs_backend *inner; /* owned */
	struct cmfs_powercut *pc;
	struct cmfs_powercut_opening *next;
};

/*
 * Who changes anything is admitted exclusively, who reads shares. Like a gate or a
 * range, an admission is held across I/O; the mutex is not.
 */
struct cmfs_powercut {
	struct cmfs_mutex lock; /* protects the admissions, and the list of openings */
	pthread_cond_t changed;
	struct cmfs_powercut_request *first, **last; /* waiting */
	bool exclusive;
	unsigned int shared;
	bool cutting;	 /* nobody is admitted */
	atomic_bool off; /* set under the lock; then all are sent away */
	struct cmfs_powercut_opening *openings;

	struct cmfs_powercut_spec spec; /* of the cut, while off */

	/* Stable for who is admitted, changed by who is exclusively so. */
	struct cmfs_store store;
	struct cmfs_powercut_view view; /* all changes */
	struct cmfs_change *oldest, **newest;
	uint64_t next_number;
	uint64_t writes, others; /* in the history; DURABLE counts for neither */
	struct timespec since;
	_Atomic int64_t changed_at_ns; /* CLOCK_REALTIME, the newest; 0: nothing is volatile */
};

/* ---- powercut.c: admission ---- */

/* @request: filled but for the pointers. Returns 0, or -EIO once it is off. */
int cmfs_powercut_enter(struct cmfs_powercut *pc, struct cmfs_powercut_request *request);
void cmfs_powercut_leave(struct cmfs_powercut *pc, const struct cmfs_powercut_request *request);

struct cmfs_powercut *cmfs_powercut_create(uint64_t memory);
void cmfs_powercut_destroy(struct cmfs_powercut *pc); /* no openings */

/* ---- powercut_history.c: changes; admitted exclusively ---- */

/*
 * Add a volatile change; its number is given here. @data: of a write, else NULL.
 * Returns 0 or -errno, then nothing has changed.
 */
int cmfs_history_add(struct cmfs_powercut *pc, const struct cmfs_change *change, const void *data);

/*
 * A durable write of [start, end): first have the memory for it, then do it, then tell.
 * The pair embraces the write itself; if that fails, the second is left out.
 */
int cmfs_history_reserve_durable(struct cmfs_powercut *pc, uint64_t start, uint64_t end,
				 struct cmfs_change **ret);
void cmfs_history_add_durable(struct cmfs_powercut *pc, struct cmfs_change *change);

/* Nothing is volatile any more; the view's size stays. */
void cmfs_history_forget(struct cmfs_powercut *pc);

/*
 * Put [start, end) of what @change does into @view, or all of it for DURABLE; then the
 * size. The map must have been reserved for it.
 */
void cmfs_change_play(const struct cmfs_change *change, struct cmfs_powercut_view *view,
		      uint64_t start, uint64_t end);
void cmfs_change_play_size(const struct cmfs_change *change, struct cmfs_powercut_view *view);

/* ---- powercut_apply.c: a view and the place below it ---- */

/* As the backend's read(). */
int cmfs_view_read(const struct cmfs_powercut_view *view, const struct cmfs_store *store,
		   struct cmfs_backend *inner, void *buf, size_t len, uint64_t off,
		   size_t *ret_len);

/* As the backend's seek(). */
int cmfs_view_seek(const struct cmfs_powercut_view *view, struct cmfs_backend *inner,
		   enum cmfs_seek whence, uint64_t off, uint64_t *ret);

/* Make the place what the view shows, unflushed. May be repeated after an error. */
int cmfs_view_apply(const struct cmfs_powercut_view *view, const struct cmfs_store *store,
		    struct cmfs_backend *inner);

/* The history's view, and space that was allocated. */
int cmfs_history_apply(struct cmfs_powercut *pc, struct cmfs_backend *inner);

/* ---- powercut_cut.c ---- */

/* What survives the cut @pc->spec, over the place below, which has @size bytes. */
int cmfs_powercut_survivors(struct cmfs_powercut *pc, uint64_t size,
			    struct cmfs_powercut_view *ret);

#endif
