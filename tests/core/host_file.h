/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_HOST_FILE_H
#define CMFS_TEST_HOST_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Real files for the tests of core/backend_file.c, in a directory of their own
 * inside CMFS_TEST_DIR or else the build directory.
 */

/* cmocka fixtures: make the directory and remove it with the files in it. */
int host_dir_setup(void **state);
int host_dir_teardown(void **state);

/* The path of the file @name in the directory; static, one for each name of a test. */
const char *host_path(const char *name);

/* Make a file of @size bytes of @fill; all of it on disk, nothing cached. Returns its path. */
const char *host_file_make(const char *name, int fill, uint64_t size);

uint64_t host_file_size(const char *path);
bool host_file_holds(const char *path, uint64_t off, const void *bytes, size_t len);

/* How many bytes of the file the page cache holds, or -errno (-ENOSYS: cannot be told). */
int64_t host_file_cached(const char *path);

/* Does the directory's file system take O_DIRECT? */
bool host_has_direct(void);

/* This process' descriptors of the file: fills @ret, returns how many. */
size_t host_file_descriptors(const char *path, int *ret, size_t max);
size_t host_descriptors(void); /* how many there are in all */

/* Take the right to pass over permissions from this thread, or give it back. */
void host_set_override(bool on);

#endif
