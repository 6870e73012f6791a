/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_OPTIONS_H
#define CMFS_OPTIONS_H

#include "cmfs/cache_mode.h"
#include "cmfs/error.h"
#include "cmfs/fault.h"

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
	char **images; /* the arguments themselves; not owned */
	size_t image_count;
	const char *mountpoint; /* not owned */
	char *pid_file;		/* or NULL */
	bool help, version;
	bool foreground, debug, single_thread;

	bool cache_given;
	enum cmfs_cache_mode cache;
	enum cmfs_passthrough passthrough;
	bool sync_flag;
	bool readonly;
	bool persist, fixed_mode;
	bool powercut, powercut_memory_given;
	uint64_t powercut_memory; /* bytes */
	char *log_writes;	  /* or NULL */
	bool fault;		  /* the layer is wanted */
	struct cmfs_fault_rules fault_rules;
	bool allow_other;
	bool fsname_given, subtype_given;
	char *mount_options; /* for libfuse: "a,b=c" with its escapes, or NULL */
};

/**
 * cmfs_options_parse() - read the command line.
 * @argv: stays in use by @ret; may be reordered.
 * @err: filled on failure: one sentence that names what is wrong.
 *
 * Returns 0, or -EINVAL, or -ENOMEM. cmfs_options_finish() is due either way.
 */
int cmfs_options_parse(int argc, char **argv, struct cmfs_options *ret, struct cmfs_err *err);
void cmfs_options_finish(struct cmfs_options *options);

/** cmfs_options_help() - the --help text, made of the option tables. */
void cmfs_options_help(FILE *out);

#endif
