/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TEST_MODEL_H
#define CMFS_TEST_MODEL_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* For helpers that compare an image with what it must hold, kept in memory. */

/* Fail with a message, and errno in words, unless @ok. */
#define CHECK(ok, ...)                                                                             \
	do {                                                                                       \
		if (!(ok)) {                                                                       \
			fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                            \
			fprintf(stderr, __VA_ARGS__);                                              \
			fprintf(stderr, " (errno: %s)\n", strerror(errno));                        \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

struct model {
	char *data;
	size_t size;
};

#define MODEL_MAX (32u << 20) /* bytes; what it may grow to */

static inline int open_or_fail(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	CHECK(fd >= 0, "open %s with flags %#o", path, (unsigned int)flags);
	return fd;
}

static inline size_t file_size(int fd)
{
	struct stat st;

	CHECK(fstat(fd, &st) == 0, "fstat");
	return st.st_size;
}

/* Fill [off, off + len) of the model with bytes that differ from call to call. */
static inline void model_put(struct model *m, size_t off, size_t len)
{
	static unsigned int seed = 1;

	CHECK(off + len <= MODEL_MAX, "the model is too small for %zu+%zu", off, len);
	for (size_t i = off; i < off + len; i++) {
		seed = seed * 1103515245 + 12345;
		m->data[i] = seed >> 16;
	}
	if (off + len > m->size)
		m->size = off + len;
}

static inline void model_resize(struct model *m, size_t size)
{
	CHECK(size <= MODEL_MAX, "the model is too small for %zu", size);
	memset(m->data + size, 0, MODEL_MAX - size);
	m->size = size;
}

/* Fail unless what @fd holds in [off, off + len), cut at the end, is the model's. */
static inline void model_expect(const struct model *m, int fd, size_t off, size_t len,
				const char *what)
{
	static _Alignas(4096) char got[MODEL_MAX];
	size_t done = 0, wanted = off < m->size ? m->size - off : 0;

	if (len < wanted)
		wanted = len;
	CHECK(file_size(fd) == m->size, "%s: size %zu, not %zu", what, file_size(fd), m->size);
	while (done < len) {
		ssize_t n = pread(fd, got + done, len - done, off + done);

		CHECK(n >= 0, "%s: pread %zu at %zu", what, len - done, off + done);
		if (n == 0)
			break;
		done += n;
	}
	CHECK(done == wanted, "%s: read %zu bytes at %zu, not %zu", what, done, off, wanted);
	for (size_t i = 0; i < done; i++)
		CHECK(got[i] == m->data[off + i], "%s: byte %zu is %#x, not %#x", what, off + i,
		      got[i] & 0xffu, m->data[off + i] & 0xffu);
}

static inline void model_expect_all(const struct model *m, int fd, const char *what)
{
	model_expect(m, fd, 0, MODEL_MAX, what);
}

static inline struct model model_load(const char *path)
{
	struct model m = { .data = aligned_alloc(4096, MODEL_MAX) };
	int fd = open_or_fail(path, O_RDONLY);

	CHECK(m.data, "aligned_alloc");
	memset(m.data, 0, MODEL_MAX);
	m.size = file_size(fd);
	CHECK(m.size <= MODEL_MAX, "%s is too large", path);
	CHECK(read(fd, m.data, m.size) == (ssize_t)m.size, "read %s", path);
	close(fd);
	return m;
}

static inline void model_store(const struct model *m, const char *path)
{
	int fd = open_or_fail(path, O_WRONLY | O_CREAT | O_TRUNC);

	CHECK(write(fd, m->data, m->size) == (ssize_t)m->size, "write %s", path);
	CHECK(close(fd) == 0, "close %s", path);
}

#endif
