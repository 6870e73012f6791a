// SPDX-License-Identifier: GPL-2.0-or-later
#include "host_file.h"

#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static char dir[512];

/* ---- the directory ---- */

int host_dir_setup(void **state)
{
	const char *base = getenv("CMFS_TEST_DIR");

	snprintf(dir, sizeof(dir), "%s/test-XXXXXX", base ? base : CMFS_TEST_BUILD_DIR);
	if (!mkdtemp(dir)) {
		print_error("%s: cannot make a directory: %s\n", dir, strerror(errno));
		return -1;
	}
	return 0;
}

int host_dir_teardown(void **state)
{
	struct dirent *entry;
	DIR *d = opendir(dir);

	if (!d)
		return -1;
	while ((entry = readdir(d))) {
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(d), entry->d_name, 0);
	}
	closedir(d);
	return rmdir(dir);
}

/* One string for each name, so that a test may keep it. */
const char *host_path(const char *name)
{
	static char paths[8][sizeof(dir) + 64];
	char path[sizeof(paths[0])];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		bool ours = strncmp(paths[i], dir, strlen(dir)) == 0;

		if (ours && strcmp(paths[i], path) != 0)
			continue;
		return strcpy(paths[i], path);
	}
	fail_msg("too many names in one test");
	return NULL;
}

/* ---- files ---- */

const char *host_file_make(const char *name, int fill, uint64_t size)
{
	const char *path = host_path(name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char *bytes = malloc(size + 1);

	assert_true(fd >= 0);
	assert_non_null(bytes);
	memset(bytes, fill, size);
	assert_int_equal(pwrite(fd, bytes, size, 0), size);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	free(bytes);
	close(fd);
	return path;
}

uint64_t host_file_size(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

bool host_file_holds(const char *path, uint64_t off, const void *bytes, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *buf = malloc(len + 1);
	bool same;

	assert_true(fd >= 0);
	assert_non_null(buf);
	same = pread(fd, buf, len, (off_t)off) == (ssize_t)len && memcmp(buf, bytes, len) == 0;
	free(buf);
	close(fd);
	return same;
}

int64_t host_file_cached(const char *path)
{
	/* cachestat(2): Linux 6.5; the C library may know neither number nor structures. */
	const long sys_cachestat = 451;
	const struct {
		uint64_t off, len;
	} all = { 0, 0 };
	struct {
		uint64_t cache, dirty, writeback, evicted, recently_evicted;
	} stat = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int64_t r;

	assert_true(fd >= 0);
	r = syscall(sys_cachestat, fd, &all, &stat, 0) < 0
		    ? -errno
		    : (int64_t)stat.cache * sysconf(_SC_PAGESIZE);
	close(fd);
	return r;
}

bool host_has_direct(void)
{
	const char *path = host_file_make("direct-probe", 0, 4096);
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	unlink(path);
	return fd >= 0;
}

/* ---- descriptors ---- */

/* Call @found for each open descriptor but the one that lists them. */
static void list_descriptors(void (*found)(int fd, void *arg), void *arg)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *entry;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd != dirfd(d))
			found(fd, arg);
	}
	closedir(d);
}

struct search {
	struct stat file;
	int *fds;
	size_t max, found;
};

static void match(int fd, void *arg)
{
	struct search *s = arg;
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_dev == s->file.st_dev && st.st_ino == s->file.st_ino &&
	    s->found < s->max)
		s->fds[s->found++] = fd;
}

size_t host_file_descriptors(const char *path, int *ret, size_t max)
{
	struct search s = { .fds = ret, .max = max };

	assert_int_equal(stat(path, &s.file), 0);
	list_descriptors(match, &s);
	return s.found;
}

static void count(int fd, void *arg)
{
	++*(size_t *)arg;
}

size_t host_descriptors(void)
{
	size_t n = 0;

	list_descriptors(count, &n);
	return n;
}

/* ---- rights ---- */

void host_set_override(bool on)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	const uint32_t override = 1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH;

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	if (on)
		data[0].effective |= data[0].permitted & override;
	else
		data[0].effective &= ~override;
	assert_int_equal(syscall(SYS_capset, &header, data), 0);
}
