// SPDX-License-Identifier: GPL-2.0-or-later
/* What stands behind --drive: parsed, checked, copied. */
#include "cmfs/image_spec.h"
#include "fuzz.h"

#include <errno.h>

static void use(const struct cmfs_image_spec *spec)
{
	struct cmfs_image_spec copy;
	struct cmfs_err err = { "" };
	const char *name = cmfs_image_spec_name(spec);
	int r = cmfs_image_spec_check(spec, &err);

	FUZZ_CHECK(r == 0 || (r == -EINVAL && err.msg[0]), "%d '%s'", r, err.msg);
	FUZZ_CHECK(r < 0 || !strchr(name, '/'), "the name '%s' has a slash", name);
	FUZZ_CHECK(cmfs_image_spec_copy(spec, &copy) == 0, "not copied");
	FUZZ_CHECK(strcmp(cmfs_image_spec_name(&copy), name) == 0 && copy.cache == spec->cache,
		   "the copy is another");
	cmfs_image_spec_finish(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct cmfs_image_spec spec = CMFS_IMAGE_SPEC_INITIALIZER;
	struct cmfs_err err = { "" };
	char *text = fuzz_text(&in);
	int r = cmfs_image_spec_parse(&spec, text, &err);

	FUZZ_CHECK(r == 0 || (r == -EINVAL && err.msg[0]), "%d '%s'", r, err.msg);
	if (r == 0)
		use(&spec);
	cmfs_image_spec_finish(&spec);
	free(text);
	return 0;
}
