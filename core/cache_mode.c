// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmfs/cache_mode.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* clang-format off */
static const struct cmfs_cache_props modes[CMFS_CACHE_MODES] = {
	[CMFS_CACHE_WRITEBACK]    = { "writeback",    NULL,  .direct = false, .dsync = false, .flush = true },
	[CMFS_CACHE_NONE]         = { "none",         "off", .direct = true,  .dsync = false, .flush = true },
	[CMFS_CACHE_WRITETHROUGH] = { "writethrough", NULL,  .direct = false, .dsync = true,  .flush = true },
	[CMFS_CACHE_DIRECTSYNC]   = { "directsync",   NULL,  .direct = true,  .dsync = true,  .flush = true },
	[CMFS_CACHE_UNSAFE]       = { "unsafe",       NULL,  .direct = false, .dsync = false, .flush = false },
};
/* clang-format on */

const struct cmfs_cache_props *cmfs_cache_props(enum cmfs_cache_mode mode)
{
	assert(mode < CMFS_CACHE_MODES);
	return &modes[mode];
}

int cmfs_cache_mode_parse(const char *name, enum cmfs_cache_mode *ret)
{
	for (int i = 0; i < CMFS_CACHE_MODES; i++) {
		if (strcmp(name, modes[i].name) == 0 ||
		    (modes[i].alias && strcmp(name, modes[i].alias) == 0)) {
			*ret = (enum cmfs_cache_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}
