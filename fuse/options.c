// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The command line. Two tables describe every option: how it is read, what the
 * help says. Mount options that are neither ours nor to be ignored go to libfuse
 * as they are, if it knows them.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* As the help says. */
#define DEFAULT_POWERCUT_MEMORY (256 * 1024 * 1024)

enum mount_option_kind {
	OURS,	/* has a function */
	FUSE,	/* for libfuse and the kernel */
	IGNORE, /* for mount(8), fstab or systemd: accepted, without effect here */
};

struct mount_option {
	const char *name; /* a trailing '*' stands for anything */
	const char *arg;  /* name of its value for the help; NULL: takes none */
	enum mount_option_kind kind;
	int (*apply)(struct cmfs_options *o, const char *value, struct cmfs_err *err);
	bool to_fuse;	  /* OURS, and libfuse gets it too */
	const char *help; /* NULL: named in the closing line of the list only */
};

static int apply_cache(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	if (cmfs_cache_mode_parse(value, &o->cache) < 0)
		return cmfs_err_set(err, -EINVAL,
				    "cache=%s: no such mode; the modes are " CMFS_CACHE_MODE_NAMES,
				    value);
	o->cache_given = true;
	return 0;
}

/* The position of @value among @words, which end with NULL. */
static int find_word(const char *value, const char *const *words)
{
	for (int i = 0; words[i]; i++) {
		if (strcmp(value, words[i]) == 0)
			return i;
	}
	return -1;
}

static int apply_passthrough(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	static const char *const words[] = {
		[CMFS_PASSTHROUGH_AUTO] = "auto",
		[CMFS_PASSTHROUGH_ON] = "on",
		[CMFS_PASSTHROUGH_OFF] = "off",
		NULL,
	};
	int i = find_word(value, words);

	if (i < 0)
		return cmfs_err_set(err, -EINVAL, "passthrough=%s: it is auto, on or off", value);
	o->passthrough = (enum cmfs_passthrough)i;
	return 0;
}

static int read_on_off(const char *option, const char *value, bool *ret, struct cmfs_err *err)
{
	static const char *const words[] = { "off", "on", NULL };
	int i = find_word(value, words);

	if (i < 0)
		return cmfs_err_set(err, -EINVAL, "%s=%s: it is on or off", option, value);
	*ret = i == 1;
	return 0;
}

static int apply_sync_flag(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	return read_on_off("syncflag", value, &o->sync_flag, err);
}

static int apply_powercut(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	return read_on_off("powercut", value, &o->powercut, err);
}

/* "17", "17k", "17M", "17G": bytes. */
static int parse_size(const char *value, uint64_t *ret)
{
	static const char units[] = "kMG";
	const char *unit;
	uint64_t n;
	char *end;

	if (value[0] < '0' || value[0] > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(value, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (errno || (*end && (!unit || end[1])))
		return -EINVAL;
	for (; unit && unit >= units; unit--) {
		if (n > UINT64_MAX / 1024)
			return -EINVAL;
		n *= 1024;
	}
	*ret = n;
	return 0;
}

static int apply_powercut_memory(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->powercut_memory_given = true;
	if (parse_size(value, &o->powercut_memory) < 0)
		return cmfs_err_set(err, -EINVAL,
				    "powercut-memory=%s: it is a number of bytes, with k, M or G "
				    "behind it for multiples of 1024",
				    value);
	return 0;
}

static int apply_fixed_mode(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->fixed_mode = true;
	return 0;
}

static int apply_log_writes(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	if (!*value)
		return cmfs_err_set(err, -EINVAL, "log-writes=: a file is missing");
	free(o->log_writes);
	o->log_writes = strdup(value);
	return o->log_writes ? 0 : cmfs_err_set(err, -ENOMEM, "out of memory");
}

static int apply_fault(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	static const char *const words[] = { "off", "on", NULL };
	int i = find_word(value, words);

	o->fault = i != 0;
	if (i < 0)
		return cmfs_fault_parse(value, &o->fault_rules, err);
	o->fault_rules.count = 0;
	return 0;
}

static int apply_persist(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->persist = true;
	return 0;
}

static int apply_ro(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->readonly = true;
	return 0;
}

static int apply_rw(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	o->readonly = false;
	return 0;
}

static int apply_pid_file(struct cmfs_options *o, const char *value, struct cmfs_err *err)
{
	if (o->pid_file && strcmp(o->pid_file, value) != 0)
		return cmfs_err_set(err, -EINVAL, "two pid files given, %s and %s", o->pid_file,
				    value);
	free(o->pid_file);
	o->pid_file = strdup(value);
	return o->pid_file ? 0 : cmfs_err_set(err, -ENOMEM, "out of memory");
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

/* clang-format off */
static const struct mount_option mount_options[] = {
	{ "cache", "MODE", OURS, apply_cache, false,
	  "cache mode of the images: " CMFS_CACHE_MODE_NAMES " (off is none; default: writeback, "
	  "or the mode stored on an image)" },
	{ "passthrough", "WHEN", OURS, apply_passthrough, false,
	  "have the kernel do reads and writes itself where the mode's promise allows: auto (the "
	  "default), on (or fail), off" },
	{ "syncflag", "ON|OFF", OURS, apply_sync_flag, false,
	  "on: set the host file's sync flag (chattr +S) in writethrough, so that passthrough can "
	  "serve it (default: off)" },
	{ "fixed-mode", NULL, OURS, apply_fixed_mode, false,
	  "no mode can be switched, all are writeback or unsafe: where passthrough cannot be had, "
	  "the kernel may then collect writes, which are lost if the daemon is killed" },
	{ "powercut", "ON|OFF", OURS, apply_powercut, false,
	  "on: what is not durable stays in the daemon, and setfattr -n user.cmfs.powercut cuts the "
	  "power: for tests (default: off)" },
	{ "powercut-memory", "SIZE", OURS, apply_powercut_memory, false,
	  "how much of that stays in memory, and not in a file in $TMPDIR or /var/tmp: bytes, or "
	  "with k, M, G (default: 256M)" },
	{ "log-writes", "FILE", OURS, apply_log_writes, false,
	  "record each write, discard and flush of the image in the new FILE, in the format of "
	  "dm-log-writes; setfattr -n user.cmfs.mark adds marks" },
	{ "fault", "ON|OFF|RULES", OURS, apply_fault, false,
	  "operations that are to fail or to take long, as write:EIO:after=100+flush:delay=50ms; "
	  "on: none yet, setfattr -n user.cmfs.fault sets them (default: off)" },
	{ "persist", NULL, OURS, apply_persist, false,
	  "a mode set through the mount is also stored on the image's host file" },
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
	{ "strictatime", NULL, IGNORE }, { "comment", "TEXT", IGNORE }, { "x-*", NULL, IGNORE },
	{ "x-*", "VALUE", IGNORE },
};

struct flag {
	char letter;
	const char *word; /* --word, or NULL */
	const char *arg;
	const char *help;
};

static const struct flag flags[] = {
	{ 'o', NULL, "OPT[,OPT...]", "mount options, see below" },
	{ 'f', NULL, NULL, "stay in the foreground" },
	{ 'd', NULL, NULL, "debug: print each FUSE request; implies -f" },
	{ 's', NULL, NULL, "a single thread serves all requests" },
	{ 'P', NULL, "FILE", "write the daemon's process id to FILE once the mount is ready" },
	{ 'h', "help", NULL, "print this help" },
	{ 'V', "version", NULL, "print the version" },
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- mount options ---- */

static bool name_matches(const char *pattern, const char *name, size_t len)
{
	size_t n = strlen(pattern);

	if (pattern[n - 1] == '*')
		return len >= n - 1 && strncmp(pattern, name, n - 1) == 0;
	return len == n && strncmp(pattern, name, n) == 0;
}

/* The row for "name" or "name=value"; @ret_named: the name at least is known. */
static const struct mount_option *find_mount_option(const char *text,
						    const struct mount_option **ret_named)
{
	size_t len = strcspn(text, "=");
	bool has_value = text[len] == '=';

	*ret_named = NULL;
	for (size_t i = 0; i < COUNT(mount_options); i++) {
		const struct mount_option *row = &mount_options[i];

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

static int apply_mount_option(struct cmfs_options *o, const char *text, struct cmfs_err *err)
{
	const struct mount_option *named, *row = find_mount_option(text, &named);
	const char *value = strchr(text, '=');
	int r = 0;

	if (!row && named)
		return cmfs_err_set(err, -EINVAL, "option '%s' %s", text,
				    named->arg ? "needs a value" : "takes no value");
	if (!row)
		return cmfs_err_set(err, -EINVAL, "unknown option '%s' (cmfs -h lists them)", text);
	if (row->kind == IGNORE)
		return 0;
	if (row->apply)
		r = row->apply(o, value ? value + 1 : NULL, err);
	if (r == 0 && (row->kind == FUSE || row->to_fuse))
		r = pass_to_fuse(o, text);
	return r;
}

/* "a,b=c,d=e\,f": a backslash takes the meaning from the next character. */
static int parse_mount_options(struct cmfs_options *o, const char *list, struct cmfs_err *err)
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

/* ---- the command line ---- */

static int apply_flag(struct cmfs_options *o, int letter, const char *value, struct cmfs_err *err)
{
	switch (letter) {
	case 'o':
		return parse_mount_options(o, value, err);
	case 'f':
		o->foreground = true;
		return 0;
	case 'd':
		return apply_debug(o, NULL, err);
	case 's':
		o->single_thread = true;
		return 0;
	case 'P':
		return apply_pid_file(o, value, err);
	case 'h':
		o->help = true;
		return 0;
	case 'V':
		o->version = true;
		return 0;
	case ':':
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
	char letters[2 * COUNT(flags) + 2] = ":", *p = letters + 1;
	struct option words[COUNT(flags) + 1] = { 0 };
	size_t word_count = 0;
	int letter, r = 0;

	for (size_t i = 0; i < COUNT(flags); i++) {
		*p++ = flags[i].letter;
		if (flags[i].arg)
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

/* What lies between the image and its file must see all that is done to it, and when. */
static int check_layers(const struct cmfs_options *o, struct cmfs_err *err)
{
	const char *layer = o->powercut	    ? "powercut=on"
			    : o->log_writes ? "log-writes"
			    : o->fault	    ? "fault"
					    : NULL;

	if (o->powercut_memory_given && !o->powercut)
		return cmfs_err_set(err, -EINVAL, "powercut-memory is for powercut=on");
	if (!layer)
		return 0;
	if (o->passthrough == CMFS_PASSTHROUGH_ON)
		return cmfs_err_set(err, -EINVAL,
				    "%s: with passthrough=on the kernel would go past it to the "
				    "host file",
				    layer);
	if (o->sync_flag)
		return cmfs_err_set(err, -EINVAL,
				    "syncflag=on serves passthrough, which %s forbids", layer);
	if (o->fixed_mode && (o->powercut || o->log_writes))
		return cmfs_err_set(
			err, -EINVAL,
			"%s: with fixed-mode the kernel would keep acknowledged writes in a cache "
			"of its own, out of its sight",
			layer);
	return 0;
}

/* @o: with its images. */
static int check_log_writes(const struct cmfs_options *o, struct cmfs_err *err)
{
	if (o->log_writes && o->readonly)
		return cmfs_err_set(err, -EINVAL, "log-writes: with ro there is nothing to log");
	if (o->log_writes && o->image_count > 1)
		return cmfs_err_set(err, -EINVAL,
				    "log-writes=%s is the log of one image, and %zu are given: "
				    "mount each by itself",
				    o->log_writes, o->image_count);
	return 0;
}

int cmfs_options_parse(int argc, char **argv, struct cmfs_options *ret, struct cmfs_err *err)
{
	int r;

	*ret = (struct cmfs_options){
		.cache = CMFS_CACHE_WRITEBACK,
		.powercut_memory = DEFAULT_POWERCUT_MEMORY,
	};
	r = parse_flags(argc, argv, ret, err);
	if (r < 0 || ret->help || ret->version)
		return r;
	if (argc - optind < 1)
		return cmfs_err_set(err, -EINVAL,
				    "no image and no mountpoint given (cmfs IMAGE... MOUNTPOINT)");
	if (argc - optind < 2)
		return cmfs_err_set(err, -EINVAL,
				    "%s: an image and a mountpoint are needed (cmfs IMAGE... "
				    "MOUNTPOINT)",
				    argv[optind]);
	if (ret->sync_flag && ret->passthrough == CMFS_PASSTHROUGH_OFF)
		return cmfs_err_set(err, -EINVAL,
				    "syncflag=on is of use to passthrough only: leave out "
				    "passthrough=off");
	if (ret->sync_flag && ret->fixed_mode)
		return cmfs_err_set(err, -EINVAL,
				    "syncflag=on is for writethrough, which fixed-mode forbids");
	if (ret->fixed_mode && ret->persist)
		return cmfs_err_set(err, -EINVAL,
				    "persist stores live changes, which fixed-mode "
				    "forbids");
	r = check_layers(ret, err);
	if (r < 0)
		return r;
	ret->images = argv + optind;
	ret->image_count = argc - optind - 1;
	ret->mountpoint = argv[argc - 1];
	return check_log_writes(ret, err);
}

void cmfs_options_finish(struct cmfs_options *options)
{
	free(options->mount_options);
	options->mount_options = NULL;
	free(options->pid_file);
	options->pid_file = NULL;
	free(options->log_writes);
	options->log_writes = NULL;
}

/* ---- help ---- */

static void print_row(FILE *out, const char *label, const char *help)
{
	const int indent = 26, width = 78;
	int column = fprintf(out, "  %-*s", indent - 2, label);

	while (*help) {
		int word = (int)strcspn(help, " ");

		if (column > indent && column + 1 + word > width) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		}
		column += fprintf(out, "%s%.*s", column > indent ? " " : "", word, help);
		help += word + (help[word] == ' ');
	}
	fputc('\n', out);
}

static void print_kind(FILE *out, const char *label, enum mount_option_kind kind)
{
	char names[1024] = "";

	for (size_t i = 0; i < COUNT(mount_options); i++) {
		const struct mount_option *row = &mount_options[i];
		size_t n = strlen(names);

		if (row->kind == kind && !row->help)
			snprintf(names + n, sizeof(names) - n, "%s%s%s%s", n ? ", " : "", row->name,
				 row->arg ? "=" : "", row->arg ? row->arg : "");
	}
	print_row(out, label, names);
}

void cmfs_options_help(FILE *out)
{
	char label[64];

	fprintf(out, "usage: cmfs [options] IMAGE... MOUNTPOINT\n"
		     "Show disk images as files under MOUNTPOINT, with a cache mode each.\n\n");
	for (size_t i = 0; i < COUNT(flags); i++) {
		const struct flag *f = &flags[i];

		snprintf(label, sizeof(label), "-%c%s%s%s%s", f->letter, f->word ? ", --" : "",
			 f->word ? f->word : "", f->arg ? " " : "", f->arg ? f->arg : "");
		print_row(out, label, f->help);
	}
	fprintf(out, "\nmount options (-o):\n");
	for (size_t i = 0; i < COUNT(mount_options); i++) {
		const struct mount_option *row = &mount_options[i];

		if (!row->help)
			continue;
		snprintf(label, sizeof(label), "%s%s%s", row->name, row->arg ? "=" : "",
			 row->arg ? row->arg : "");
		print_row(out, label, row->help);
	}
	print_kind(out, "to libfuse:", FUSE);
	print_kind(out, "ignored:", IGNORE);
	fprintf(out, "\nSee cmfs(1), cmfs-cache(7).\n");
}
