// SPDX-License-Identifier: GPL-2.0-or-later
#include "handle_class.h"

#include <fcntl.h>

static bool may_write(const struct cmfs_handle_context *c)
{
	return (c->open_flags & O_ACCMODE) != O_RDONLY;
}

/* Also true of O_SYNC, of which it is a part. */
static bool is_durable(const struct cmfs_handle_context *c)
{
	return c->open_flags & O_DSYNC;
}

/*
 * Passthrough opens the host file with the application's flags, not with the
 * mode's: it keeps the promises when those flags demand all that the mode demands,
 * or the host file makes each write durable by itself.
 */
static bool flags_keep_promises(const struct cmfs_cache_props *mode,
				const struct cmfs_handle_context *c)
{
	if (mode->direct && !(c->open_flags & O_DIRECT))
		return false; /* P6 */
	if (!may_write(c))
		return true;
	if (mode->dsync && !is_durable(c) && !c->sync_flag)
		return false; /* P1 */
	if (!mode->flush && is_durable(c))
		return false; /* P3: each write would flush */
	if (c->failed && mode->flush)
		return false; /* P5: each durable write is to fail, by RWF_DSYNC too */
	return true;
}

/*
 * The family of a mode, if no handle is open yet.
 *
 * In direct modes passthrough is for who opens with O_DIRECT. Others would have no
 * more of it than mappings of the host file, past which the daemon's writes go: the
 * host's kernel does not keep the two coherent.
 *
 * In writethrough only handles that are durable by their own flags, or the host
 * file's, do well with it: a reader with passthrough would keep a later writer from
 * reading through a cache.
 */
static bool prefers_passthrough(const struct cmfs_cache_props *mode,
				const struct cmfs_handle_context *c)
{
	if (mode->direct)
		return c->open_flags & O_DIRECT;
	return !mode->dsync || c->sync_flag || (may_write(c) && is_durable(c));
}

static bool joins_passthrough(const struct cmfs_cache_props *mode,
			      const struct cmfs_handle_context *c)
{
	if (!c->can_passthrough || c->open_without > 0)
		return false;
	if (c->open_with_passthrough > 0)
		return true;
	if (c->failed && mode->flush)
		return false; /* P5: a msync of the host file tells nobody */
	return c->was_mappable || prefers_passthrough(mode, c);
}

enum cmfs_handle_class cmfs_handle_class_choose(const struct cmfs_cache_props *mode,
						const struct cmfs_handle_context *c)
{
	if (joins_passthrough(mode, c))
		return flags_keep_promises(mode, c) ? CMFS_HANDLE_PASSTHROUGH
						    : CMFS_HANDLE_DIRECT_MAPPED;
	return mode->direct || c->was_mappable ? CMFS_HANDLE_DIRECT : CMFS_HANDLE_CACHED;
}

struct cmfs_handle_flags cmfs_handle_class_flags(enum cmfs_handle_class class)
{
	static const struct cmfs_handle_flags flags[CMFS_HANDLE_CLASSES] = {
		[CMFS_HANDLE_CACHED] = { .keep_cache = true },
		[CMFS_HANDLE_DIRECT] = { .direct_io = true,
					 .keep_cache = true,
					 .parallel_direct_writes = true },
		[CMFS_HANDLE_DIRECT_MAPPED] = { .direct_io = true,
						.parallel_direct_writes = true,
						.passthrough = true },
		[CMFS_HANDLE_PASSTHROUGH] = { .passthrough = true },
	};

	return flags[class];
}
