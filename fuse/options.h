/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_OPTIONS_H
#define CMFS_OPTIONS_H

#include "cmfs/error.h"
#include "cmfs/image_spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum cmfs_passthrough {
	CMFS_PASSTHROUGH_AUTO, /* where it can be had */
	CMFS_PASSTHROUGH_ON,   /* or fail */
	CMFS_PASSTHROUGH_OFF,
};

/* The command line, parsed. Strings are owned here unless said otherwise. */
struct cmfs_options {
	struct cmfs_image_spec defaults; /* of all images */
	struct cmfs_image_spec *images;
	size_t image_count;
	const char **drives; /* texts of --drive; not owned */
	size_t drive_count;
	const char *mountpoint; /* not owned */
	char *pid_file;		/* or NULL */
	bool help, version, completions;
	bool foreground, debug, single_thread;

	enum cmfs_passthrough passthrough;
	bool readonly; /* the mount as a whole */
	bool fixed_mode;
	bool allow_other;
	bool fsname_given, subtype_given;
	char *mount_options; /* for libfuse: "a,b=c" with its escapes, or NULL */
};

/* A flag of the command line's. */
struct cmfs_flag {
	int letter;	  /* above 'z': it has none */
	const char *word; /* --word, or NULL */
	const char *arg;  /* name of its value, or NULL */
	const char *help;
};

/** cmfs_flag() - the @i-th flag; NULL behind the last one. Constant. */
const struct cmfs_flag *cmfs_flag(size_t i);

/**
 * cmfs_options_parse() - read the command line.
 * @argv: stays in use by @ret; may be reordered.
 * @err: filled on failure: one sentence that names what is wrong.
 *
 * Returns 0, or -EINVAL, or -ENOMEM. cmfs_options_finish() is due either way.
 */
int cmfs_options_parse(int argc, char **argv, struct cmfs_options *ret, struct cmfs_err *err);
void cmfs_options_finish(struct cmfs_options *options);

/** cmfs_options_set_pid_file() - once, or -EINVAL. */
int cmfs_options_set_pid_file(struct cmfs_options *options, const char *path, struct cmfs_err *err);

/** cmfs_options_check_file_mount() - 0, or -EINVAL if the mountpoint may not be a file. */
int cmfs_options_check_file_mount(const struct cmfs_options *options, struct cmfs_err *err);

/** cmfs_options_help() - the --help text, made of the option tables. */
void cmfs_options_help(FILE *out);

/**
 * cmfs_options_completions() - the words that a shell may offer, made of the same tables.
 *
 * A line for each: what it is (flag, key, key-of-one, option), its name, the name of its
 * value if it takes one, and then the values that are words.
 */
void cmfs_options_completions(FILE *out);

#endif
