/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEMP_FILE_H
#define CMFS_TEMP_FILE_H

/** cmfs_temp_file_folder() - where temporary files are: $TMPDIR, or else /var/tmp. */
const char *cmfs_temp_file_folder(void);

/**
 * cmfs_temp_file_create() - an empty file without a name there, for reading and writing:
 * it goes with its last descriptor, however we end.
 *
 * Returns the descriptor or -errno.
 */
int cmfs_temp_file_create(void);

#endif
