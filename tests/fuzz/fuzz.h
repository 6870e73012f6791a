/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_FUZZ_H
#define CMFS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What the harnesses share. Each is a program of libFuzzer's (clang): it calls
 * LLVMFuzzerTestOneInput() with inputs that it makes up, and an abort is a find.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A find, with what is wrong in words. */
#define FUZZ_CHECK(ok, ...)                                                                        \
	do {                                                                                       \
		if (!(ok)) {                                                                       \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #ok);                   \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* The input as numbers, zeroes behind its end. */
struct fuzz_input {
	const uint8_t *data;
	size_t size;
};

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t low = fuzz_byte(in);

	return low | fuzz_byte(in) << 8;
}

/* The input as a text: up to a zero byte, or its end. The caller frees it. */
static inline char *fuzz_text(struct fuzz_input *in)
{
	size_t len = strnlen((const char *)in->data, in->size);
	char *text = strndup((const char *)in->data, len);

	FUZZ_CHECK(text, "out of memory");
	len += len < in->size;
	in->data += len;
	in->size -= len;
	return text;
}

#endif
