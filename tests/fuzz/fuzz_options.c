// SPDX-License-Identifier: GPL-2.0-or-later
/* A command line: arguments with a zero byte behind each. */
#include "fuzz.h"
#include "options.h"

#include <errno.h>
#include <getopt.h>

#define MAX_ARGS 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	char *argv[MAX_ARGS + 1] = { strdup("cmfs") }, *kept[MAX_ARGS + 1];
	struct cmfs_options o;
	struct cmfs_err err = { "" };
	int argc = 1, r;

	while (in.size > 0 && argc < MAX_ARGS)
		argv[argc++] = fuzz_text(&in);
	memcpy(kept, argv, sizeof(argv)); /* getopt moves them about */
	optind = 0;
	r = cmfs_options_parse(argc, argv, &o, &err);
	FUZZ_CHECK(r == 0 || r == -EINVAL, "%d", r);
	FUZZ_CHECK((r < 0) == (err.msg[0] != '\0'), "status %d, message '%s'", r, err.msg);
	if (r == 0 && !o.help && !o.version && !o.completions) {
		FUZZ_CHECK(o.mountpoint && o.image_count > 0, "accepted without an image");
		for (size_t i = 0; i < o.image_count; i++)
			FUZZ_CHECK(o.images[i].path, "image %zu has no path", i);
	}
	cmfs_options_finish(&o);
	for (int i = 0; i < argc; i++)
		free(kept[i]);
	return 0;
}
