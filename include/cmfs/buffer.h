/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_BUFFER_H
#define CMFS_BUFFER_H

#include <stddef.h>

/*
 * Each thread's own aligned buffers, kept from request to request and freed
 * with the thread, so that the data path does not allocate. One per use: the
 * layers of one request do not fight for the same one.
 */
enum cmfs_buffer {
	CMFS_BUFFER_REQUEST,  /* fuse/workers.c: a request, and what a read is answered from */
	CMFS_BUFFER_XATTR,    /* fuse/: extended attributes; a request's names are in the other */
	CMFS_BUFFER_COPY,     /* core/image.c: copying by reading and writing */
	CMFS_BUFFER_BOUNCE,   /* core/align.c: aligned stand-in for a caller's buffer */
	CMFS_BUFFER_LOG,      /* core/backend_write_log.c: content that is read back */
	CMFS_BUFFER_POWERCUT, /* core/powercut_apply.c: data on its way to the place below */
	CMFS_BUFFER_OVERLAY,  /* core/overlay*.c: a block that is copied, data to be committed */
	CMFS_BUFFERS,
};

/* Every buffer's address is a multiple of this many bytes. */
#define CMFS_BUFFER_ALIGN 65536

/**
 * cmfs_buffer_get() - this thread's buffer for @use.
 * @len: bytes needed; the content is undefined.
 *
 * Returns NULL when out of memory. Valid until the same thread asks for the
 * same use again; owned by the thread, never freed by the caller.
 */
void *cmfs_buffer_get(enum cmfs_buffer use, size_t len);

/**
 * cmfs_buffer_trim() - give back the memory behind this thread's buffers, but for
 * their beginnings. They stay where they are; their content is lost.
 */
void cmfs_buffer_trim(void);

#endif
