// SPDX-License-Identifier: GPL-2.0-or-later
#include "readahead.h"

#include "workers.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <sys/stat.h>

#define WANTED_KIB (CMFS_PAYLOAD_MAX / 1024)

void cmfs_readahead_set(const char *mountpoint)
{
	struct statx stx;
	unsigned long now;
	char path[64];
	FILE *f;

	/* Not to ask us: we may not be there to answer. */
	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC, 0, &stx) < 0)
		return;
	/* Already unmounted: what is seen is another file system. */
	if (!(stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) || stx.stx_ino != FUSE_ROOT_ID)
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", stx.stx_dev_major,
		 stx.stx_dev_minor);
	f = fopen(path, "r+e");
	if (!f)
		return;
	if (fscanf(f, "%lu", &now) == 1 && now < WANTED_KIB) {
		rewind(f);
		fprintf(f, "%d\n", WANTED_KIB);
	}
	fclose(f);
}
