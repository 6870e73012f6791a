// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What may stand behind -o: a table of options of the mount, and the keys of images
 * (image_spec.h), which are defaults for all of them here. What is neither ours nor to
 * be ignored goes to libfuse as it is, if the table knows it.
 */
#include "mount_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The position of @value among @words, which end with NULL. */
static int find_word(const char *value, const char *const *words)
{
	for (int i = 0; words[i]; i++) {
		if (strcmp(value, words[i]) == 0)
			return i;
	}
	return -1;
}

static const char *const passthrough_words[] = {
	[CMFS_PASSTHROUGH_AUTO] = "auto",
	[CMFS_PASSTHROUGH_ON] = "on",
	[CMFS_PASSTHROUGH_OFF] = "off",
	NULL,
};

static int apply_passthrough(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	int i = find_word(value, passthrough_words);

	if (i < 0)
		return cmfs_err_set(err, -EINVAL, "passthrough=%s: it is auto, on or off", value);
	o->passthrough = (enum cmfs_passthrough)i;
	return 0;
}

static int apply_fixed_mode(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->fixed_mode = o->defaults.fixed = true;
	return 0;
}

static int apply_ro(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->readonly = o->defaults.readonly = true;
	return 0;
}

static int apply_rw(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->readonly = o->defaults.readonly = false;
	return 0;
}

static int apply_pid_file(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	return cmfs_options_set_pid_file(o, value, err);
}

static int apply_remount(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	return cmfs_err_set(err, -EINVAL,
			    "remount: cmfs cannot change a mount from outside; setfattr switches "
			    "the mode, mount -i -o remount,... changes what is the kernel's");
}

static int apply_allow_other(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->allow_other = true;
	return 0;
}

static int apply_fsname(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->fsname_given = true;
	return 0;
}

static int apply_subtype(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->subtype_given = true;
	return 0;
}

static int apply_debug(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->debug = o->foreground = true;
	return 0;
}

#define OURS   CMFS_OPTION_OURS
#define FUSE   CMFS_OPTION_FUSE
#define IGNORE CMFS_OPTION_IGNORE

/* clang-format off */
static const struct cmfs_mount_option mount_options[] = {
	{ "passthrough", "WHEN", OURS, apply_passthrough, false,
	  "have the kernel do reads and writes itself where the mode's promise allows: auto (the "
	  "default), on (or fail), off", passthrough_words },
	{ "fixed-mode", NULL, OURS, apply_fixed_mode, false,
	  "no mode can be switched, all are writeback or unsafe: where passthrough cannot be had, "
	  "the kernel may then collect writes, which are lost if the daemon is killed" },
	{ "ro", NULL, OURS, apply_ro, true, "open the images read-only, mount read-only" },
	{ "rw", NULL, OURS, apply_rw, true, "the opposite, the default" },
	{ "allow_other", NULL, OURS, apply_allow_other, true,
	  "let other users in, as the images' permissions say" },
	{ "fsname", "NAME", OURS, apply_fsname, true,
	  "the mount's source in /proc/mounts (default: the first image)" },
	{ "subtype", "NAME", OURS, apply_subtype, true,
	  "the mount's type after 'fuse.' (default: cmfs)" },
	{ "pidfile", "FILE", OURS, apply_pid_file, false, "same as -P, for fstab" },
	{ "remount", NULL, OURS, apply_remount, false, NULL },
	{ "debug", NULL, OURS, apply_debug, false, "same as -d" },
	{ "nosuid", NULL, FUSE }, { "suid", NULL, FUSE }, { "nodev", NULL, FUSE },
	{ "dev", NULL, FUSE }, { "noexec", NULL, FUSE }, { "exec", NULL, FUSE },
	{ "noatime", NULL, FUSE }, { "nodiratime", NULL, FUSE }, { "sync", NULL, FUSE },
	{ "async", NULL, FUSE }, { "dirsync", NULL, FUSE }, { "nosymfollow", NULL, FUSE },
	{ "symfollow", NULL, FUSE }, { "default_permissions", NULL, FUSE },
	{ "context", "CTX", FUSE }, { "fscontext", "CTX", FUSE }, { "defcontext", "CTX", FUSE },
	{ "rootcontext", "CTX", FUSE },
	{ "defaults", NULL, IGNORE }, { "auto", NULL, IGNORE }, { "noauto", NULL, IGNORE },
	{ "nofail", NULL, IGNORE }, { "_netdev", NULL, IGNORE }, { "user", NULL, IGNORE },
	{ "user", "NAME", IGNORE }, { "nouser", NULL, IGNORE }, { "users", NULL, IGNORE },
	{ "owner", NULL, IGNORE }, { "group", NULL, IGNORE }, { "relatime", NULL, IGNORE },
	{ "strictatime", NULL, IGNORE }, { "norelatime", NULL, IGNORE },
	{ "nostrictatime", NULL, IGNORE }, { "lazytime", NULL, IGNORE },
	{ "nolazytime", NULL, IGNORE }, { "iversion", NULL, IGNORE },
	{ "noiversion", NULL, IGNORE }, { "mand", NULL, IGNORE }, { "nomand", NULL, IGNORE },
	{ "silent", NULL, IGNORE }, { "loud", NULL, IGNORE }, { "comment", "TEXT", IGNORE },
	{ "x-*", NULL, IGNORE }, { "x-*", "VALUE", IGNORE }, { "X-*", NULL, IGNORE },
	{ "X-*", "VALUE", IGNORE },
};
/* clang-format on */

#define ROWS (sizeof(mount_options) / sizeof(mount_options[0]))

const struct cmfs_mount_option *cmfs_mount_option(size_t i)
{
	return i < ROWS ? &mount_options[i] : NULL;
}

static bool name_matches(const char *pattern, const char *name, size_t len)
{
	size_t n = strlen(pattern);

	if (pattern[n - 1] == '*')
		return len >= n - 1 && strncmp(pattern, name, n - 1) == 0;
	return len == n && strncmp(pattern, name, n) == 0;
}

/* The row for "name" or "name=value"; @ret_named: the name at least is known. */
static const struct cmfs_mount_option *find_mount_option(const char *text,
							 const struct cmfs_mount_option **ret_named)
{
	size_t len = strcspn(text, "=");
	bool has_value = text[len] == '=';

	*ret_named = NULL;
	for (size_t i = 0; i < ROWS; i++) {
		const struct cmfs_mount_option *row = &mount_options[i];

		if (!name_matches(row->name, text, len))
			continue;
		if (has_value == (row->arg != NULL))
			return row;
		*ret_named = row;
	}
	return NULL;
}

/* Append one option, with libfuse's escapes for commas and backslashes. */
static int pass_to_fuse(struct cmfs_options *o, const char *text)
{
	size_t have = o->mount_options ? strlen(o->mount_options) : 0;
	char *p, *list = realloc(o->mount_options, have + 2 * strlen(text) + 2);

	if (!list)
		return -ENOMEM;
	o->mount_options = list;
	p = list + have;
	if (have)
		*p++ = ',';
	for (; *text; text++) {
		if (*text == ',' || *text == '\\')
			*p++ = '\\';
		*p++ = *text;
	}
	*p = '\0';
	return 0;
}

/* A key of images: for all that do not say otherwise. */
static int set_default(struct cmfs_options *o, const char *text, struct cmfs_err *err)
{
	const char *value = strchr(text, '=');
	size_t len = value ? (size_t)(value - text) : strlen(text);
	const struct cmfs_image_key *key;

	for (size_t i = 0; (key = cmfs_image_key(i)); i++) {
		if (strlen(key->name) != len || strncmp(key->name, text, len) != 0)
			continue;
		if (key->of_one)
			return cmfs_err_set(err, -EINVAL,
					    "option '%s' is for one image: --drive file=PATH,%s",
					    text, strcmp(key->name, "file") ? text : "...");
		return cmfs_image_spec_set(&o->defaults, key->name, value ? value + 1 : NULL, err);
	}
	return cmfs_err_set(err, -EINVAL, "unknown option '%s' (cmfs -h lists them)", text);
}

static int apply_mount_option(struct cmfs_options *o, const char *text, struct cmfs_err *err)
{
	const struct cmfs_mount_option *named, *row = find_mount_option(text, &named);
	const char *value = strchr(text, '=');
	int r = 0;

	if (!row && named)
		return cmfs_err_set(err, -EINVAL, "option '%s' %s", text,
				    named->arg ? "needs a value" : "takes no value");
	if (!row)
		return set_default(o, text, err);
	if (row->kind == IGNORE)
		return 0;
	if (row->apply)
		r = row->apply(o, value ? value + 1 : NULL, err);
	if (r == 0 && (row->kind == FUSE || row->to_fuse))
		r = pass_to_fuse(o, text);
	return r;
}

/* "a,b=c,d=e\,f": a backslash takes the meaning from the next character. */
int cmfs_mount_options_parse(struct cmfs_options *o, const char *list, struct cmfs_err *err)
{
	char *text = malloc(strlen(list) + 1), *p = text;
	int r = 0;

	if (!text)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	for (;; list++) {
		if (*list && *list != ',') {
			if (*list == '\\' && list[1])
				list++;
			*p++ = *list;
			continue;
		}
		*p = '\0';
		if (p > text)
			r = apply_mount_option(o, text, err);
		p = text;
		if (r < 0 || !*list)
			break;
	}
	free(text);
	return r;
}
