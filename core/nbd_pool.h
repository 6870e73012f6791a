/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_NBD_POOL_H
#define CMFS_NBD_POOL_H

#include "nbd_conn.h"

#include <sys/stat.h>

/*
 * The connections to one export, shared by all openings of it (a live switch has two for
 * a moment), lost and made anew together. See nbd_pool.c for what a loss means.
 *
 * Any number of threads may call these at the same time, but for the last unref.
 * Errors: -errno of the server's; -EIO for a connection that is lost.
 */
struct cmfs_nbd_pool;

/** cmfs_nbd_pool_open() - connect. @err: as cmfs_nbd_conn_open(). */
int cmfs_nbd_pool_open(const struct cmfs_nbd_source *source, struct cmfs_nbd_pool **ret,
		       struct cmfs_err *err);

struct cmfs_nbd_pool *cmfs_nbd_pool_ref(struct cmfs_nbd_pool *pool);
void cmfs_nbd_pool_unref(struct cmfs_nbd_pool *pool); /* NULL is fine */

/* As they were at first; a server that comes back with other ones is not taken. */
const struct cmfs_nbd_caps *cmfs_nbd_pool_caps(const struct cmfs_nbd_pool *pool);

/* For messages. */
const char *cmfs_nbd_pool_name(const struct cmfs_nbd_pool *pool);

/** cmfs_nbd_pool_run() - what changes nothing, or carries FUA. */
int cmfs_nbd_pool_run(struct cmfs_nbd_pool *pool, struct cmfs_nbd_command *command);

/** cmfs_nbd_pool_change() - a change that a later flush makes durable. */
int cmfs_nbd_pool_change(struct cmfs_nbd_pool *pool, struct cmfs_nbd_command *command);

/** cmfs_nbd_pool_change_and_flush() - one that is durable when it returns 0. */
int cmfs_nbd_pool_change_and_flush(struct cmfs_nbd_pool *pool, struct cmfs_nbd_command *command);

/** cmfs_nbd_pool_flush() - -EIO for good once unflushed changes went with a connection. */
int cmfs_nbd_pool_flush(struct cmfs_nbd_pool *pool);

/** cmfs_nbd_pool_check() - the same -EIO; sends nothing. */
int cmfs_nbd_pool_check(struct cmfs_nbd_pool *pool);

/**
 * cmfs_nbd_pool_start_over() - whoever made the changes that were lost has been told, and makes
 * all of them again: what counts from here on is what is changed from here on.
 */
void cmfs_nbd_pool_start_over(struct cmfs_nbd_pool *pool);

#endif
