/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_BACKEND_FILTER_H
#define CMFS_BACKEND_FILTER_H

#include "cmfs/backend.h"

/*
 * What layers have in common: a backend that wraps another one and passes on what
 * it has no business with. A layer embeds struct cmfs_filter first and takes these
 * for the operations that it does not do itself.
 *
 * None of them is for ops->host_fd and ops->copy: both would go past the layer.
 */
struct cmfs_filter {
	struct cmfs_backend base;
	struct cmfs_backend *below; /* owned */
};

static inline struct cmfs_backend *cmfs_filter_below(struct cmfs_backend *be)
{
	return ((struct cmfs_filter *)be)->below;
}

/** cmfs_filter_base() - what the layer's base is: @ops, and @below's opening and geometry. */
struct cmfs_backend cmfs_filter_base(const struct cmfs_backend_ops *ops,
				     const struct cmfs_backend *below);

int cmfs_filter_read(struct cmfs_backend *be, void *buf, size_t len, uint64_t off, size_t *ret_len);
int cmfs_filter_check(struct cmfs_backend *be);
int cmfs_filter_write_out(struct cmfs_backend *be);
int cmfs_filter_size(struct cmfs_backend *be, uint64_t *ret);
int cmfs_filter_getattr(struct cmfs_backend *be, struct stat *ret);
int cmfs_filter_seek(struct cmfs_backend *be, enum cmfs_seek whence, uint64_t off, uint64_t *ret);
int cmfs_filter_set_sync(struct cmfs_backend *be, bool on);
void cmfs_filter_drop_cache(struct cmfs_backend *be);

/* -EOPNOTSUPP for what the one below has not. */
extern const struct cmfs_backend_meta_ops cmfs_filter_meta_ops;

#endif
