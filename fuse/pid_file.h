/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_PID_FILE_H
#define CMFS_PID_FILE_H

#include "cmfs/error.h"

/*
 * The file of -P: it exists while the mount is ready, and goes when the daemon
 * has flushed everything. A lock on it (flock(2)) says that its daemon lives: a
 * killed one's file is written over. It never takes the place of a file that is not an old
 * pid file: the argument of -P is easily forgotten, and then an image follows.
 */
struct cmfs_pid_file {
	const char *path; /* as given, or NULL: nothing happens at all */
	int folder;	  /* of the path, as it was before the mount; -1: none */
	int fd;		  /* of the file, locked; -1: not written */
};

/** cmfs_pid_file_check() - before the mount: can it be written, harming nothing? */
int cmfs_pid_file_check(struct cmfs_pid_file *pid_file, const char *mountpoint,
			struct cmfs_err *err);

/** cmfs_pid_file_write() - this process's id, after a successful check. */
int cmfs_pid_file_write(struct cmfs_pid_file *pid_file, struct cmfs_err *err);

/** cmfs_pid_file_remove() - if it was written. Also after a failure. */
void cmfs_pid_file_remove(struct cmfs_pid_file *pid_file);

#endif
