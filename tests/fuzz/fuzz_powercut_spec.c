// SPDX-License-Identifier: GPL-2.0-or-later
/* Power-cut specs: what is accepted is exactly what its parts are written as. */
#include "cmfs/powercut.h"
#include "fuzz.h"

#include <errno.h>

static const char *const words[] = {
	[CMFS_POWERCUT_LOSE] = "lose",	   [CMFS_POWERCUT_KEEP] = "keep",
	[CMFS_POWERCUT_RANDOM] = "random", [CMFS_POWERCUT_TORN] = "torn",
	[CMFS_POWERCUT_PREFIX] = "prefix",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct cmfs_powercut_spec spec;
	char *text = fuzz_text(&in), again[64];
	int r = cmfs_powercut_spec_parse(text, &spec);

	FUZZ_CHECK(r == 0 || r == -EINVAL, "%d", r);
	if (r == 0) {
		const char *digits = text + strcspn(text, ":") + 1;

		snprintf(again, sizeof(again), "%s", words[spec.kind]);
		if (spec.kind >= CMFS_POWERCUT_RANDOM) {
			/* Zeroes in front are fine. */
			digits += strspn(digits, "0");
			snprintf(again, sizeof(again), "%s:%.0llu", words[spec.kind],
				 (unsigned long long)spec.number);
			FUZZ_CHECK(strcmp(digits, strchr(again, ':') + 1) == 0, "'%s' is '%s'",
				   text, again);
		} else {
			FUZZ_CHECK(strcmp(text, again) == 0, "'%s' is '%s'", text, again);
		}
	}
	free(text);
	return 0;
}
