/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_NBD_CONN_H
#define CMFS_NBD_CONN_H

#include "cmfs/nbd.h"
#include "nbd_caps.h"

/* One connection to a server, from its handshake to its loss. */
struct cmfs_nbd_conn;

enum cmfs_nbd_op {
	CMFS_NBD_READ,
	CMFS_NBD_WRITE,
	CMFS_NBD_ZERO,
	CMFS_NBD_FLUSH,
	CMFS_NBD_BLOCK_STATUS,
};

/* Can be run again, on another connection. */
struct cmfs_nbd_command {
	enum cmfs_nbd_op op;
	uint32_t flags; /* LIBNBD_CMD_FLAG_* */
	void *buf;	/* of len bytes, where data is moved */
	uint64_t off, len;
	uint32_t entries[64]; /* of BLOCK_STATUS, see struct cmfs_nbd_extents */
	size_t entry_count;
};

/* What cmfs_nbd_conn_run() returns beside 0 and -errno. */
#define CMFS_NBD_LOST 1

/**
 * cmfs_nbd_conn_open() - connect and shake hands.
 * @stop_fd: gives up when this is readable; -1: none.
 * @timeout_ms: of all of it, but for name resolution.
 * @err: filled on failure: a sentence without the source's name.
 */
int cmfs_nbd_conn_open(const struct cmfs_nbd_source *source, int stop_fd, int timeout_ms,
		       struct cmfs_nbd_conn **ret, struct cmfs_err *err);

/** cmfs_nbd_conn_close() - say goodbye to the server and free. No call is in flight. */
void cmfs_nbd_conn_close(struct cmfs_nbd_conn *conn);

const struct cmfs_nbd_caps *cmfs_nbd_conn_caps(const struct cmfs_nbd_conn *conn);

/** cmfs_nbd_conn_fd() - its socket, to be polled for POLLRDHUP. */
int cmfs_nbd_conn_fd(const struct cmfs_nbd_conn *conn);

/**
 * cmfs_nbd_conn_run() - run a command; any number of threads at the same time.
 *
 * 0, the server's error, or CMFS_NBD_LOST: the connection is no more, and nobody
 * knows whether the command was done.
 */
int cmfs_nbd_conn_run(struct cmfs_nbd_conn *conn, struct cmfs_nbd_command *command);

/** cmfs_nbd_conn_abort() - lose it: what is in flight, and what comes later. Any thread. */
void cmfs_nbd_conn_abort(struct cmfs_nbd_conn *conn);

#endif
