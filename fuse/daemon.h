/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_DAEMON_H
#define CMFS_DAEMON_H

#include "cmfs/error.h"

/*
 * Going to the background so that the command returns only when the mount works
 * or when it is known why it does not (P10): the daemon is forked at the start
 * and does everything itself, errors to the terminal included; the command waits
 * for its word.
 */
struct cmfs_daemon {
	int pipe; /* to the waiting command; -1 in the foreground */
	int died; /* the command's exit status if a signal ends the daemon before it is ready */
};

/**
 * cmfs_daemon_start() - fork, unless @foreground.
 *
 * Returns in the daemon only; the command that waits exits from within: with 0
 * when the daemon is ready, else with the daemon's exit status.
 */
int cmfs_daemon_start(struct cmfs_daemon *daemon, int foreground, struct cmfs_err *err);

/**
 * cmfs_daemon_ready() - the mount works: let the command return,
 * leave its terminal and directory.
 */
int cmfs_daemon_ready(struct cmfs_daemon *daemon, struct cmfs_err *err);

#endif
