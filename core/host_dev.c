// SPDX-License-Identifier: GPL-2.0-or-later
#include "host_dev.h"

#include <errno.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int cmfs_host_dev_block(int fd, uint32_t *ret)
{
	int block;

	if (ioctl(fd, BLKSSZGET, &block) < 0)
		return -errno;
	*ret = (uint32_t)block;
	return 0;
}

int cmfs_host_dev_size(int fd, uint32_t block, uint64_t *ret)
{
	uint64_t size;

	if (ioctl(fd, BLKGETSIZE64, &size) < 0)
		return -errno;
	*ret = size - size % block;
	return 0;
}

/* Its zones take nothing but writes at their end. */
static bool is_zoned(int fd)
{
	uint32_t sectors;

	return ioctl(fd, BLKGETZONESZ, &sectors) == 0 && sectors > 0;
}

int cmfs_host_dev_check(int fd, bool readonly, const char *name, struct cmfs_err *err)
{
	uint64_t size;
	int protected, r;

	r = cmfs_host_dev_size(fd, 1, &size);
	if (r < 0)
		return cmfs_err_set(err, r, "%s: cannot tell its size: %s", name, strerror(-r));
	if (size == 0)
		return cmfs_err_set(
			err, -ENOMEDIUM,
			"%s: is a device of no size: it has no medium, or was not set up", name);
	if (is_zoned(fd)) /* UNTESTED: needs such a device */
		return cmfs_err_set(err, -EOPNOTSUPP,
				    "%s: is a zoned device, which cannot be written at any place "
				    "as an image is; dm-zoned makes one that can",
				    name);
	if (!readonly && ioctl(fd, BLKROGET, &protected) == 0 && protected)
		return cmfs_err_set(err, -EROFS,
				    "%s: cannot open for writing: the device is write-protected "
				    "(-o ro mounts it read-only)",
				    name);
	return 0;
}

/* ---- who has it ---- */

static bool is_device(const char *path, dev_t dev)
{
	struct stat st;

	return path[0] == '/' && stat(path, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == dev;
}

/*
 * One line of mountinfo: "36 35 98:0 /root /point opts [fields] - TYPE source opts".
 * The number is the device's but for file systems that may be on several (btrfs).
 */
static bool parse_mountinfo(const char *line, dev_t dev, char *point, size_t size)
{
	char mounted_on[256], source[256];
	unsigned int major, minor;
	const char *end = strstr(line, " - ");

	if (!end || sscanf(line, "%*u %*u %u:%u %*s %255s", &major, &minor, mounted_on) != 3)
		return false;
	if (sscanf(end, " - %*s %255s", source) != 1)
		source[0] = '\0';
	if (makedev(major, minor) != dev && !is_device(source, dev))
		return false;
	snprintf(point, size, "%s", mounted_on);
	return true;
}

static bool find_mount(dev_t dev, char *point, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t capacity = 0;
	bool found = false;

	if (!f)
		return false; /* UNTESTED: no /proc */
	while (!found && getline(&line, &capacity, f) >= 0)
		found = parse_mountinfo(line, dev, point, size);
	free(line);
	fclose(f);
	return found;
}

int cmfs_host_dev_err_busy(dev_t dev, const char *name, struct cmfs_err *err)
{
	char point[256];

	if (find_mount(dev, point, sizeof(point)))
		return cmfs_err_set(err, -EBUSY,
				    "%s: is mounted on %s: unmount it there, or mount it here "
				    "read-only (-o ro)",
				    name, point);
	return cmfs_err_set(err, -EBUSY,
			    "%s: is in use (mounted, a part of it mounted, swap, LVM, RAID, or by "
			    "another cmfs): end that, or mount it here read-only (-o ro)",
			    name);
}
