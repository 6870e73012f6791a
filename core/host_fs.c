// SPDX-License-Identifier: GPL-2.0-or-later
#include "host_fs.h"

#include "cmfs/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The largest direct I/O alignment that is looked for by probing. */
#define MAX_ALIGN CMFS_BUFFER_ALIGN

/* glibc's wrapper may know a struct statx older than the kernel's. */
static int host_statx(int fd, unsigned int mask, struct statx *ret)
{
	memset(ret, 0, sizeof(*ret));
	return syscall(SYS_statx, fd, "", AT_EMPTY_PATH, mask, ret) < 0 ? -errno : 0;
}

/*
 * One line of mountinfo: "36 35 98:0 /root /point opts [fields] - TYPE source".
 * Returns true and fills @ret if it is the mount @id.
 */
static bool parse_mountinfo(const char *line, unsigned long long id, char *ret, size_t size)
{
	const char *type;

	if (strtoull(line, NULL, 10) != id)
		return false;
	type = strstr(line, " - ");
	if (!type)
		return false;
	type += 3;
	snprintf(ret, size, "%.*s", (int)strcspn(type, " \n"), type);
	return true;
}

void cmfs_host_fs_name(int fd, char *ret, size_t size)
{
	struct statx stx;
	char *line = NULL;
	size_t capacity = 0;
	FILE *f;

	snprintf(ret, size, "unknown type");
	if (host_statx(fd, STATX_MNT_ID, &stx) < 0 || !(stx.stx_mask & STATX_MNT_ID))
		return; /* UNTESTED: Linux before 5.8 */
	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return; /* UNTESTED: no /proc */
	while (getline(&line, &capacity, f) >= 0) {
		if (parse_mountinfo(line, stx.stx_mnt_id, ret, size))
			break;
	}
	free(line);
	fclose(f);
}

/*
 * The smallest alignment from 4096 up with which a read works. Smaller ones may
 * seem to work as well, but some file systems then go through the page cache
 * (btrfs), so they are not tried: what is aligned to 4096 is aligned to 512.
 */
static uint32_t probe_align(int fd)
{
	void *buf = cmfs_buffer_get(CMFS_BUFFER_BOUNCE, MAX_ALIGN);

	if (!buf)
		return 0; /* UNTESTED: out of memory at start */
	for (uint32_t align = 4096; align <= MAX_ALIGN; align *= 2) {
		if (pread(fd, buf, align, 0) >= 0)
			return align;
	}
	return 0;
}

/*
 * What a write through the page cache may rewrite around its bytes: the page,
 * and the file system's block where that is larger.
 */
static uint32_t exact_block(uint32_t align, uint32_t fs_block)
{
	uint32_t block = (uint32_t)sysconf(_SC_PAGESIZE);

	while (block < align || block < fs_block)
		block *= 2;
	return block;
}

int cmfs_host_fs_dio_geometry(int fd, struct cmfs_geometry *ret)
{
	struct statx stx;
	uint32_t align = 0, mem_align = 0;
	int r = host_statx(fd, STATX_DIOALIGN, &stx);

	if (r < 0)
		return r;
	if (stx.stx_mask & STATX_DIOALIGN) {
		align = stx.stx_dio_offset_align;
		mem_align = stx.stx_dio_mem_align;
	} else {
		align = mem_align = probe_align(fd);
	}
	if (align == 0 || align > MAX_ALIGN || mem_align > CMFS_BUFFER_ALIGN)
		return -EOPNOTSUPP;
	*ret = (struct cmfs_geometry){
		.align = align,
		.mem_align = mem_align,
		.exact_block = exact_block(align, stx.stx_blksize),
	};
	return 0;
}
