// SPDX-License-Identifier: GPL-2.0-or-later
#include "control.h"

#include "cmfs/image_spec.h"
#include "daemon_id.h"
#include "handles.h"
#include "log.h"
#include "passthrough.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int cache_get(struct cmfs_file *file, struct cmfs_image *image, char *value, size_t size)
{
	return snprintf(value, size, "%s", cmfs_cache_props(cmfs_image_cache(image))->name);
}

static int cache_set(struct cmfs_fs *fs, struct cmfs_file *file, struct cmfs_image *image,
		     const char *value, struct cmfs_err *err)
{
	enum cmfs_cache_mode mode;

	if (cmfs_cache_mode_parse(value, &mode) < 0)
		return cmfs_err_set(err, -EINVAL,
				    "'%s' is no cache mode; the modes are " CMFS_CACHE_MODE_NAMES,
				    value);
	return cmfs_image_change_cache(image, mode, err);
}

static int cache_remove(struct cmfs_file *file, struct cmfs_image *image, struct cmfs_err *err)
{
	return cmfs_image_revert_cache(image, err);
}

/* What made the image fail (P5). */
static int error_get(struct cmfs_file *file, struct cmfs_image *image, char *value, size_t size)
{
	struct cmfs_failure failure;

	if (!cmfs_image_failure(image, &failure))
		return snprintf(value, size, "none");
	return snprintf(value, size, "%s: %s", failure.operation, strerror(-failure.error));
}

/* Who reads and writes the host file where the mode and a handle's flags leave the choice. */
static int datapath_get(struct cmfs_file *file, struct cmfs_image *image, char *value, size_t size)
{
	unsigned int kernel, daemon;
	int n = cmfs_passthrough_describe(file, image, value, size);

	if (file->backing_id <= 0)
		return n;
	cmfs_handle_count(file, &kernel, &daemon);
	return n + snprintf(value + n, size - n, "; open: %u by the kernel, %u by the daemon",
			    kernel, daemon);
}

/* What a power cut could change; "off" without the layer. */
static int powercut_get(struct cmfs_file *file, struct cmfs_image *image, char *value, size_t size)
{
	struct cmfs_powercut_summary s;
	char since[32];
	struct tm tm;
	int n, r = cmfs_image_powercut_summary(image, &s);

	if (r < 0)
		return r == -EOPNOTSUPP ? snprintf(value, size, "off") : r;
	n = snprintf(value, size, "writes=%ju bytes=%ju others=%ju", (uintmax_t)s.writes,
		     (uintmax_t)s.bytes, (uintmax_t)s.others);
	if (s.writes + s.others == 0)
		return n;
	gmtime_r(&s.since.tv_sec, &tm);
	strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%S", &tm);
	return n +
	       snprintf(value + n, size - n, " since=%s.%03ldZ", since, s.since.tv_nsec / 1000000);
}

/*
 * Handles from before the cut fail from the moment it is made. The next boot is the
 * file's only when the kernel has no pages of the old one any more: what a mapping has
 * dirtied is refused by the dead image then. Who opens the file meanwhile finds it off.
 */
static int powercut_set(struct cmfs_fs *fs, struct cmfs_file *file, struct cmfs_image *image,
			const char *value, struct cmfs_err *err)
{
	struct cmfs_powercut_spec spec;
	struct cmfs_image *next;
	struct cmfs_boot *boot;
	char before[CMFS_CONTROL_VALUE_MAX];
	int r;

	if (cmfs_powercut_spec_parse(value, &spec) < 0)
		return cmfs_err_set(err, -EINVAL,
				    "'%s' is no power cut; there are " CMFS_POWERCUT_SPECS, value);
	boot = cmfs_boot_create(NULL);
	if (!boot)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	if (powercut_get(file, image, before, sizeof(before)) < 0)
		before[0] = '\0'; /* it is off already, as the cut will say */
	r = cmfs_image_cut(image, &spec, &next, err);
	if (!next) {
		free(boot);
		return r;
	}
	boot->image = next;
	cmfs_fs_drop_pages(fs, file);
	cmfs_boot_replace(file, boot);
	cmfs_log(LOG_INFO, "%s: power cut, %s; not durable were: %s", file->name, value, before);
	return r;
}

/* ---- the overlay ---- */

/* What a commit would write, or how far one has come; "off" without the layer. */
static int commit_get(struct cmfs_file *file, struct cmfs_image *image, char *value, size_t size)
{
	struct cmfs_overlay_status s;
	int n, r = cmfs_image_overlay_status(image, &s);

	if (r < 0)
		return r == -EOPNOTSUPP ? snprintf(value, size, "off") : r;
	n = snprintf(value, size, "uncommitted=%ju%s", (uintmax_t)s.uncommitted,
		     s.resized ? " resized" : "");
	if (s.committing)
		n += snprintf(value + n, size - n, " committing=%ju/%ju", (uintmax_t)s.done,
			      (uintmax_t)s.total);
	return n;
}

static bool has_overlay(struct cmfs_image *image)
{
	struct cmfs_overlay_status s;

	return cmfs_image_overlay_status(image, &s) != -EOPNOTSUPP;
}

static int commit_set(struct cmfs_fs *fs, struct cmfs_file *file, struct cmfs_image *image,
		      const char *value, struct cmfs_err *err)
{
	struct cmfs_overlay_status before = { 0 };
	int r;

	if (strcmp(value, "now") != 0)
		return cmfs_err_set(err, -EINVAL, "'%s': there is only a commit 'now'", value);
	cmfs_image_overlay_status(image, &before);
	r = cmfs_image_commit(image, err);
	if (r == 0)
		cmfs_log(LOG_INFO, "%s: committed %ju bytes to the image", file->name,
			 (uintmax_t)before.uncommitted);
	return r;
}

/* ---- faults, the write log ---- */

static int fault_get(struct cmfs_file *file, struct cmfs_image *image, char *value, size_t size)
{
	struct cmfs_faults *faults = cmfs_image_faults(image);

	return faults ? cmfs_faults_describe(faults, value, size) : snprintf(value, size, "off");
}

static int fault_remove(struct cmfs_file *file, struct cmfs_image *image, struct cmfs_err *err)
{
	struct cmfs_faults *faults = cmfs_image_faults(image);

	if (!faults)
		return cmfs_err_set(err, -EOPNOTSUPP,
				    "mounted without -o fault (fault=on is enough)");
	cmfs_faults_set(faults, NULL);
	return 0;
}

static int fault_set(struct cmfs_fs *fs, struct cmfs_file *file, struct cmfs_image *image,
		     const char *value, struct cmfs_err *err)
{
	struct cmfs_faults *faults = cmfs_image_faults(image);
	struct cmfs_fault_rules rules;
	int r;

	if (!faults || strcmp(value, "off") == 0)
		return fault_remove(file, image, err);
	r = cmfs_fault_parse(value, &rules, err);
	if (r == 0)
		cmfs_faults_set(faults, &rules);
	return r;
}

static int mark_get(struct cmfs_file *file, struct cmfs_image *image, char *value, size_t size)
{
	struct cmfs_write_log_status status;

	if (!file->write_log)
		return snprintf(value, size, "off");
	status = cmfs_write_log_status(file->write_log);
	return snprintf(value, size, "%s%llu entries%s%s", status.error ? "stopped after " : "",
			(unsigned long long)status.entries, status.error ? ": " : "",
			status.error ? strerror(-status.error) : "");
}

static int mark_set(struct cmfs_fs *fs, struct cmfs_file *file, struct cmfs_image *image,
		    const char *value, struct cmfs_err *err)
{
	if (!file->write_log)
		return cmfs_err_set(err, -EOPNOTSUPP, "mounted without -o log-writes");
	return cmfs_write_log_mark(file->write_log, value, err);
}

static int daemon_get(struct cmfs_file *file, struct cmfs_image *image, char *value, size_t size)
{
	return snprintf(value, size, "%s", cmfs_daemon_id());
}

#define ERROR_XATTR    CMFS_CONTROL_PREFIX "error"
#define DATAPATH_XATTR CMFS_CONTROL_PREFIX "datapath"
#define POWERCUT_XATTR CMFS_CONTROL_PREFIX "powercut"
#define COMMIT_XATTR   CMFS_CONTROL_PREFIX "commit"
#define FAULT_XATTR    CMFS_CONTROL_PREFIX "fault"
#define MARK_XATTR     CMFS_CONTROL_PREFIX "mark"

static const struct cmfs_control_key keys[] = {
	{ CMFS_CACHE_XATTR, cache_get, cache_set, cache_remove },
	{ ERROR_XATTR, error_get },
	{ DATAPATH_XATTR, datapath_get },
	{ POWERCUT_XATTR, powercut_get, powercut_set, .logs = true, .keeps_pages = true,
	  .on_root = true },
	{ COMMIT_XATTR, commit_get, commit_set, .logs = true, .takes_pages = true,
	  .keeps_pages = true, .on_root = true, .is_for = has_overlay },
	{ FAULT_XATTR, fault_get, fault_set, fault_remove, .keeps_pages = true, .on_root = true },
	{ MARK_XATTR, mark_get, mark_set, .keeps_pages = true },
	{ CMFS_DAEMON_XATTR, daemon_get },
};

/* All names in keys[], for the root directory. */
#define KEY_NAMES                                                                                  \
	CMFS_CACHE_XATTR " " ERROR_XATTR " " DATAPATH_XATTR " " POWERCUT_XATTR " " COMMIT_XATTR    \
			 " " FAULT_XATTR " " MARK_XATTR " " CMFS_DAEMON_XATTR

static const struct {
	const char *name, *value; /* NULL: the daemon's id */
} root_keys[] = {
	{ CMFS_CONTROL_PREFIX "keys", KEY_NAMES },
	{ CMFS_CONTROL_PREFIX "version", CMFS_VERSION },
	{ CMFS_DAEMON_XATTR, NULL },
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
			return root_keys[i].value ? root_keys[i].value : cmfs_daemon_id();
	}
	return NULL;
}

const char *cmfs_control_root_list(size_t *ret_size)
{
	static const char list[] =
		CMFS_CONTROL_PREFIX "keys\0" CMFS_CONTROL_PREFIX "version\0" CMFS_DAEMON_XATTR;

	*ret_size = sizeof(list);
	return list;
}
