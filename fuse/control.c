// SPDX-License-Identifier: GPL-2.0-or-later
#include "control.h"

#include "cmfs/image_spec.h"
#include "handles.h"
#include "passthrough.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int cache_get(struct cmfs_file *file, char *value, size_t size)
{
	return snprintf(value, size, "%s", cmfs_cache_props(cmfs_image_cache(file->image))->name);
}

static int cache_set(struct cmfs_file *file, const char *value, struct cmfs_err *err)
{
	enum cmfs_cache_mode mode;

	if (cmfs_cache_mode_parse(value, &mode) < 0)
		return cmfs_err_set(err, -EINVAL,
				    "'%s' is no cache mode; the modes are " CMFS_CACHE_MODE_NAMES,
				    value);
	return cmfs_image_change_cache(file->image, mode, err);
}

static int cache_remove(struct cmfs_file *file, struct cmfs_err *err)
{
	return cmfs_image_revert_cache(file->image, err);
}

/* What made the image fail (P5). */
static int error_get(struct cmfs_file *file, char *value, size_t size)
{
	struct cmfs_failure failure;

	if (!cmfs_image_failure(file->image, &failure))
		return snprintf(value, size, "none");
	return snprintf(value, size, "%s: %s", failure.operation, strerror(-failure.error));
}

/* Who reads and writes the host file where the mode and a handle's flags leave the choice. */
static int datapath_get(struct cmfs_file *file, char *value, size_t size)
{
	unsigned int kernel, daemon;
	int n = cmfs_passthrough_describe(file, value, size);

	if (file->backing_id <= 0)
		return n;
	cmfs_handle_count(file, &kernel, &daemon);
	return n + snprintf(value + n, size - n, "; open: %u by the kernel, %u by the daemon",
			    kernel, daemon);
}

#define ERROR_XATTR    CMFS_CONTROL_PREFIX "error"
#define DATAPATH_XATTR CMFS_CONTROL_PREFIX "datapath"

static const struct cmfs_control_key keys[] = {
	{ CMFS_CACHE_XATTR, cache_get, cache_set, cache_remove },
	{ ERROR_XATTR, error_get },
	{ DATAPATH_XATTR, datapath_get },
};

/* All names in keys[], for the root directory. */
#define KEY_NAMES CMFS_CACHE_XATTR " " ERROR_XATTR " " DATAPATH_XATTR

static const struct {
	const char *name, *value;
} root_keys[] = {
	{ CMFS_CONTROL_PREFIX "keys", KEY_NAMES },
	{ CMFS_CONTROL_PREFIX "version", CMFS_VERSION },
};

const struct cmfs_control_key *cmfs_control_find(const char *name)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(name, keys[i].name) == 0)
			return &keys[i];
	}
	return NULL;
}

const char *cmfs_control_root_get(const char *name)
{
	for (size_t i = 0; i < sizeof(root_keys) / sizeof(root_keys[0]); i++) {
		if (strcmp(name, root_keys[i].name) == 0)
			return root_keys[i].value;
	}
	return NULL;
}

const char *cmfs_control_root_list(size_t *ret_size)
{
	static const char list[] = CMFS_CONTROL_PREFIX "keys\0" CMFS_CONTROL_PREFIX "version";

	*ret_size = sizeof(list);
	return list;
}
