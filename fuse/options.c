// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The command line: flags, images and the mountpoint. What stands behind -o is
 * mount_options.c's, what an image is image_spec.c's.
 */
#include "options.h"

#include "mount_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* Flags that have no letter. */
#define DRIVE	    256
#define COMPLETIONS 257

/* clang-format off */
static const struct cmfs_flag flags[] = {
	{ 'o', NULL, "OPT[,OPT...]", "mount options, see below" },
	{ DRIVE, "drive", "SPEC", "an image with options of its own, as file=PATH,cache=MODE: see "
	  "below; may be repeated" },
	{ 'f', NULL, NULL, "stay in the foreground" },
	{ 'd', NULL, NULL, "debug: print each FUSE request; implies -f" },
	{ 's', NULL, NULL, "a single thread serves all requests" },
	{ 'P', NULL, "FILE", "write the daemon's process id to FILE once the mount is ready" },
	{ 'h', "help", NULL, "print this help" },
	{ 'V', "version", NULL, "print the version" },
	{ COMPLETIONS, "completions", NULL, "print all words of the command line, for a shell" },
};
/* clang-format on */

#define FLAGS (sizeof(flags) / sizeof(flags[0]))

const struct cmfs_flag *cmfs_flag(size_t i)
{
	return i < FLAGS ? &flags[i] : NULL;
}

/* ---- flags ---- */

int cmfs_options_set_pid_file(struct cmfs_options *o, const char *path, struct cmfs_err *err)
{
	if (o->pid_file && strcmp(o->pid_file, path) != 0)
		return cmfs_err_set(err, -EINVAL, "two pid files given, %s and %s", o->pid_file,
				    path);
	free(o->pid_file);
	o->pid_file = strdup(path);
	return o->pid_file ? 0 : cmfs_err_set(err, -ENOMEM, "out of memory");
}

/* Parsed when all defaults are known, which may be given behind it. */
static int add_drive(struct cmfs_options *o, const char *text, struct cmfs_err *err)
{
	const char **drives = realloc(o->drives, (o->drive_count + 1) * sizeof(*drives));

	if (!drives)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	drives[o->drive_count++] = text;
	o->drives = drives;
	return 0;
}

static int apply_flag(struct cmfs_options *o, int letter, const char *value, struct cmfs_err *err)
{
	switch (letter) {
	case 'o':
		return cmfs_mount_options_parse(o, value, err);
	case DRIVE:
		return add_drive(o, value, err);
	case 'f':
		o->foreground = true;
		return 0;
	case 'd':
		return cmfs_mount_options_parse(o, "debug", err);
	case 's':
		o->single_thread = true;
		return 0;
	case 'P':
		return cmfs_options_set_pid_file(o, value, err);
	case 'h':
		o->help = true;
		return 0;
	case 'V':
		o->version = true;
		return 0;
	case COMPLETIONS:
		o->completions = true;
		return 0;
	case ':':
		if (optopt == DRIVE)
			return cmfs_err_set(err, -EINVAL, "option '--drive' needs a value");
		return cmfs_err_set(err, -EINVAL, "option '-%c' needs a value", optopt);
	default:
		if (optopt)
			return cmfs_err_set(err, -EINVAL,
					    "unknown option '-%c' (cmfs -h lists them)", optopt);
		return cmfs_err_set(err, -EINVAL, "unknown option (cmfs -h lists them)");
	}
}

static int parse_flags(int argc, char **argv, struct cmfs_options *o, struct cmfs_err *err)
{
	char letters[2 * FLAGS + 2] = ":", *p = letters + 1;
	struct option words[FLAGS + 1] = { 0 };
	size_t word_count = 0;
	int letter, r = 0;

	for (size_t i = 0; i < FLAGS; i++) {
		if (flags[i].letter <= 'z')
			*p++ = (char)flags[i].letter;
		if (flags[i].letter <= 'z' && flags[i].arg)
			*p++ = ':';
		if (flags[i].word)
			words[word_count++] =
				(struct option){ flags[i].word,
						 flags[i].arg ? required_argument : no_argument,
						 NULL, flags[i].letter };
	}
	*p = '\0';
	opterr = 0;
	while (r == 0 && (letter = getopt_long(argc, argv, letters, words, NULL)) != -1) {
		if (letter == '?' && !optopt)
			return cmfs_err_set(err, -EINVAL,
					    "unknown option '%s' (cmfs -h lists them)",
					    argv[optind - 1]);
		r = apply_flag(o, letter, optarg, err);
	}
	return r;
}

/* ---- images ---- */

/* One more image: @ret is the defaults until the caller has changed it. */
static int add_image(struct cmfs_options *o, struct cmfs_image_spec **ret, struct cmfs_err *err)
{
	struct cmfs_image_spec *images = realloc(o->images, (o->image_count + 1) * sizeof(*images));

	if (images)
		o->images = images;
	if (!images || cmfs_image_spec_copy(&o->defaults, &images[o->image_count]) < 0)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	*ret = &images[o->image_count++];
	return 0;
}

static int add_images(struct cmfs_options *o, char **paths, size_t count, struct cmfs_err *err)
{
	struct cmfs_image_spec *spec;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		r = add_image(o, &spec, err);
		if (r == 0)
			r = cmfs_image_spec_set(spec, "file", paths[i], err);
		if (r == 0)
			r = cmfs_image_spec_complete(spec, err);
	}
	for (size_t i = 0; i < o->drive_count && r == 0; i++) {
		r = add_image(o, &spec, err);
		if (r == 0)
			r = cmfs_image_spec_parse(spec, o->drives[i], err);
		if (r == 0)
			r = cmfs_image_spec_complete(spec, err);
	}
	return r;
}

/* What lies between an image and its place must see all that is done to it, and when. */
static int check_layer(const struct cmfs_options *o, const struct cmfs_image_spec *spec,
		       struct cmfs_err *err)
{
	const char *layer = cmfs_image_spec_layer(spec);

	if (layer && o->passthrough == CMFS_PASSTHROUGH_ON)
		return cmfs_err_set(err, -EINVAL,
				    "%s: %s: with passthrough=on the kernel would go past it to "
				    "the host file",
				    spec->path, layer);
	if (o->fixed_mode && (spec->powercut || spec->log_writes))
		return cmfs_err_set(err, -EINVAL,
				    "%s: %s: with fixed-mode the kernel would keep acknowledged "
				    "writes in a cache of its own, out of its sight",
				    spec->path, layer);
	return 0;
}

static int check_image(const struct cmfs_options *o, const struct cmfs_image_spec *spec,
		       struct cmfs_err *err)
{
	if (o->readonly && !spec->readonly)
		return cmfs_err_set(err, -EINVAL,
				    "%s: readonly=off: with ro the whole mount is read-only",
				    spec->path);
	if (spec->keep_sync_flag && o->passthrough == CMFS_PASSTHROUGH_OFF)
		return cmfs_err_set(err, -EINVAL,
				    "syncflag=on is of use to passthrough only: leave out "
				    "passthrough=off");
	if (spec->keep_sync_flag && o->fixed_mode)
		return cmfs_err_set(err, -EINVAL,
				    "syncflag=on is for writethrough, which fixed-mode forbids");
	if (spec->persist && o->fixed_mode)
		return cmfs_err_set(err, -EINVAL,
				    "persist stores live changes, which fixed-mode forbids");
	return check_layer(o, spec, err);
}

/* What each image may be, and all of them together not. */
static int check_together(const struct cmfs_options *o, struct cmfs_err *err)
{
	bool powercut = false, memory = false;

	for (size_t i = 0; i < o->image_count; i++) {
		const struct cmfs_image_spec *spec = &o->images[i];

		powercut |= spec->powercut;
		memory |= spec->powercut_memory != CMFS_POWERCUT_MEMORY_DEFAULT;
		for (size_t k = 0; spec->log_writes && k < i; k++) {
			const struct cmfs_image_spec *other = &o->images[k];

			if (other->log_writes && strcmp(other->log_writes, spec->log_writes) == 0)
				return cmfs_err_set(err, -EINVAL,
						    "log-writes=%s is the log of one image, and "
						    "%s and %s would both write it: give each "
						    "one of its own by --drive",
						    spec->log_writes, other->path, spec->path);
		}
	}
	return memory && !powercut
		       ? cmfs_err_set(err, -EINVAL, "powercut-memory is for powercut=on")
		       : 0;
}

static int check(const struct cmfs_options *o, struct cmfs_err *err)
{
	int r = check_together(o, err);

	for (size_t i = 0; i < o->image_count && r == 0; i++) {
		r = cmfs_image_spec_check(&o->images[i], err);
		if (r == 0)
			r = check_image(o, &o->images[i], err);
	}
	return r;
}

/* ---- the whole ---- */

int cmfs_options_parse(int argc, char **argv, struct cmfs_options *ret, struct cmfs_err *err)
{
	int r, count;

	*ret = (struct cmfs_options){ .defaults = CMFS_IMAGE_SPEC_INITIALIZER };
	r = parse_flags(argc, argv, ret, err);
	if (r < 0 || ret->help || ret->version || ret->completions)
		return r;
	count = argc - optind;
	if (count < 1)
		return cmfs_err_set(err, -EINVAL,
				    "no image and no mountpoint given (cmfs IMAGE... MOUNTPOINT)");
	if (count < 2 && ret->drive_count == 0)
		return cmfs_err_set(err, -EINVAL,
				    "%s: an image and a mountpoint are needed (cmfs IMAGE... "
				    "MOUNTPOINT)",
				    argv[optind]);
	ret->mountpoint = argv[argc - 1];
	r = add_images(ret, argv + optind, count - 1, err);
	return r < 0 ? r : check(ret, err);
}

int cmfs_options_check_file_mount(const struct cmfs_options *options, struct cmfs_err *err)
{
	const struct cmfs_image_spec *image = &options->images[0];
	const char *mountpoint = options->mountpoint;

	if (options->image_count > 1)
		return cmfs_err_set(err, -EINVAL,
				    "%s: is a file, which can show one image, and %zu are given; a "
				    "directory can show them all",
				    mountpoint, options->image_count);
	if (image->name_given)
		return cmfs_err_set(err, -EINVAL,
				    "%s: name=%s: %s is a file and keeps its name; names are for "
				    "a mount on a directory",
				    image->path, image->name, mountpoint);
	/* A root's generation cannot change: see cmfs_file_entry_timeout(). */
	if (image->powercut)
		return cmfs_err_set(err, -EINVAL,
				    "%s: powercut=on: %s is a file, where what was open before a "
				    "cut would go on after it; mount on a directory",
				    image->path, mountpoint);
	/* A root is made before that cache is agreed upon, and keeps its first size, 0. */
	if (options->fixed_mode)
		return cmfs_err_set(err, -EINVAL,
				    "fixed-mode: %s is a file, whose size the kernel's write cache "
				    "would not know; mount on a directory",
				    mountpoint);
	return 0;
}

void cmfs_options_finish(struct cmfs_options *options)
{
	for (size_t i = 0; i < options->image_count; i++)
		cmfs_image_spec_finish(&options->images[i]);
	free(options->images);
	cmfs_image_spec_finish(&options->defaults);
	free(options->drives);
	free(options->mount_options);
	free(options->pid_file);
	*options = (struct cmfs_options){ 0 };
}
