// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The keys of an image on the command line: one table, from which they are parsed,
 * explained and copied.
 */
#include "cmfs/image_spec.h"

#include "cmfs/nbd.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OFFSET(field) offsetof(struct cmfs_image_spec, field)

enum kind {
	STRING, /* const char *, owned */
	ON_OFF, /* bool */
	WORD,	/* an enum: the place of its word */
	SIZE,	/* uint64_t, bytes */
	PARSED, /* by a function */
};

struct key {
	struct cmfs_image_key shown;
	enum kind kind;
	size_t field;
	const char *const *words; /* end with NULL; of one that is PARSED: some of them */
	int (*parse)(struct cmfs_image_spec *spec, const char *value, struct cmfs_err *err);
};

/* ---- values ---- */

/* The position of @value among @words. */
static int find_word(const char *value, const char *const *words)
{
	for (int i = 0; words[i]; i++) {
		if (strcmp(value, words[i]) == 0)
			return i;
	}
	return -1;
}

static const char *const off_on[] = { "off", "on", NULL };
static const char *const modes[] = { "writeback",  "none",   "writethrough",
				     "directsync", "unsafe", NULL };

static const char *const lockings[] = { "auto", "on", "off", NULL }; /* enum cmfs_locking */

static const char *const discard_words[] = {
	[CMFS_DISCARD_UNMAP] = "unmap",
	[CMFS_DISCARD_IGNORE] = "ignore",
	NULL,
};

static const char *const detect_zeroes_words[] = {
	[CMFS_DETECT_ZEROES_OFF] = "off",
	[CMFS_DETECT_ZEROES_ON] = "on",
	[CMFS_DETECT_ZEROES_UNMAP] = "unmap",
	NULL,
};

static const char *const aios[] = { "threads", "native", "io_uring", NULL }; /* enum cmfs_aio */

static int parse_cache(struct cmfs_image_spec *spec, const char *value, struct cmfs_err *err)
{
	if (cmfs_cache_mode_parse(value, &spec->cache) < 0)
		return cmfs_err_set(err, -EINVAL,
				    "cache=%s: no such mode; the modes are " CMFS_CACHE_MODE_NAMES,
				    value);
	spec->cache_given = true;
	return 0;
}

static int parse_fault(struct cmfs_image_spec *spec, const char *value, struct cmfs_err *err)
{
	int word = find_word(value, off_on);

	spec->fault = word != 0;
	if (word < 0)
		return cmfs_fault_parse(value, &spec->fault_rules, err);
	spec->fault_rules.count = 0;
	return 0;
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

#define RECONNECT_DELAY_MAX_S 86400

static int parse_reconnect_delay(struct cmfs_image_spec *spec, const char *value,
				 struct cmfs_err *err)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end || n > RECONNECT_DELAY_MAX_S)
		return cmfs_err_set(err, -EINVAL,
				    "reconnect-delay=%s: it is a number of seconds, up to %d",
				    value, RECONNECT_DELAY_MAX_S);
	spec->reconnect_delay_s = n;
	return 0;
}

/* ---- the keys ---- */

/* clang-format off */
static const struct key keys[] = {
	{ { "file", "PATH", "the image, in place of an IMAGE argument", true },
	  STRING, OFFSET(path) },
	{ { "name", "NAME", "its name under MOUNTPOINT (default: the last part of its path)" },
	  STRING, OFFSET(name) },
	{ { "cache", "MODE", "cache mode: " CMFS_CACHE_MODE_NAMES " (off is none; default: "
	    "writeback, or the mode stored on the image)" },
	  PARSED, .words = modes, .parse = parse_cache },
	{ { "aio", "THREADS|NATIVE|IO_URING", "how the daemon does host I/O; native is for none "
	    "and directsync (default: threads)" },
	  WORD, OFFSET(host.aio), aios },
	{ { "format", "FORMAT", "show the guest's disk that an image of this format holds, by "
	    "qemu-nbd: qcow2, vmdk, vdi, vhdx, vpc, ...; auto: whatever it looks like; raw: the "
	    "file's own bytes (default: raw)" },
	  WORD, OFFSET(format), .words = cmfs_format_names },
	{ { "key-file", "FILE", "the content of FILE is the passphrase of an encrypted luks or "
	    "qcow2 image" },
	  STRING, OFFSET(key_file) },
	{ { "readonly", "ON|OFF", "on: open it read-only (default: off)" },
	  ON_OFF, OFFSET(readonly) },
	{ { "locking", "AUTO|ON|OFF", "lock it as QEMU does, so that one program writes to it at a "
	    "time; auto: where its file system can (default: auto)" },
	  WORD, OFFSET(host.locking), lockings },
	{ { "snapshot", "ON|OFF", "on: what is written goes to a temporary file, and the image is "
	    "never changed, unless setfattr -n user.cmfs.commit says so (default: off)" },
	  ON_OFF, OFFSET(snapshot) },
	{ { "discard", "UNMAP|IGNORE", "unmap: what is discarded is given back to the host; ignore: it "
	    "becomes zeroes and keeps its space (default: unmap)" },
	  WORD, OFFSET(discard), discard_words },
	{ { "detect-zeroes", "OFF|ON|UNMAP", "on: a write of zeroes is not written, but becomes a range of "
	    "zeroes; unmap: a hole (default: off)" },
	  WORD, OFFSET(detect_zeroes), detect_zeroes_words },
	{ { "persist", "ON|OFF", "on: a mode set through the mount is also stored on its host file "
	    "(default: off)" },
	  ON_OFF, OFFSET(persist) },
	{ { "syncflag", "ON|OFF", "on: set the host file's sync flag (chattr +S) in writethrough, "
	    "so that passthrough can serve it (default: off)" },
	  ON_OFF, OFFSET(keep_sync_flag) },
	{ { "reconnect-delay", "SECONDS", "how long requests wait for an NBD server that is gone to "
	    "come back; 0: they fail at once (default: 0)" },
	  PARSED, .parse = parse_reconnect_delay },
	{ { "powercut", "ON|OFF", "on: what is not durable stays in the daemon, and setfattr -n "
	    "user.cmfs.powercut cuts the power: for tests (default: off)" },
	  ON_OFF, OFFSET(powercut) },
	{ { "powercut-memory", "SIZE", "how much of that stays in memory, and not in a file in "
	    "$TMPDIR or /var/tmp: bytes, or with k, M, G (default: 256M)" },
	  SIZE, OFFSET(powercut_memory) },
	{ { "log-writes", "FILE", "record each write, discard and flush in the new FILE, in the "
	    "format of dm-log-writes; setfattr -n user.cmfs.mark adds marks" },
	  STRING, OFFSET(log_writes) },
	{ { "fault", "ON|OFF|RULES", "operations that are to fail or to take long, as "
	    "write:EIO:after=100+flush:delay=50ms; on: none yet, setfattr -n user.cmfs.fault sets "
	    "them (default: off)" },
	  PARSED, .words = off_on, .parse = parse_fault },
};
/* clang-format on */

#define KEYS (sizeof(keys) / sizeof(keys[0]))

const struct cmfs_image_key *cmfs_image_key(size_t i)
{
	return i < KEYS ? &keys[i].shown : NULL;
}

const char *const *cmfs_image_key_words(size_t i)
{
	if (i >= KEYS)
		return NULL;
	return keys[i].kind == ON_OFF ? off_on : keys[i].words;
}

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(name, keys[i].shown.name) == 0)
			return &keys[i];
	}
	return NULL;
}

/* ---- setting them ---- */

static void *field(struct cmfs_image_spec *spec, const struct key *key)
{
	return (char *)spec + key->field;
}

static int set_string(const char **string, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free((char *)*string);
	*string = copy;
	return 0;
}

/* "off, on" */
static void list_words(const char *const *words, char *ret, size_t size)
{
	size_t n = 0;

	for (; *words && n < size; words++)
		n += snprintf(ret + n, size - n, "%s%s", n ? ", " : "", *words);
}

static int set_word(struct cmfs_image_spec *spec, const struct key *key, const char *value,
		    struct cmfs_err *err)
{
	const char *const *words = key->kind == ON_OFF ? off_on : key->words;
	int word = find_word(value, words);
	char list[128];

	if (word < 0) {
		list_words(words, list, sizeof(list));
		return cmfs_err_set(err, -EINVAL, "%s=%s: no such value; there are %s",
				    key->shown.name, value, list);
	}
	if (key->kind == ON_OFF)
		*(bool *)field(spec, key) = word;
	else
		*(int *)field(spec, key) = word;
	return 0;
}

int cmfs_image_spec_set(struct cmfs_image_spec *spec, const char *name, const char *value,
			struct cmfs_err *err)
{
	const struct key *key = find_key(name);

	if (!key)
		return cmfs_err_set(err, -EINVAL, "there is no key '%s' (cmfs -h lists them)",
				    name);
	if (!value && key->kind == ON_OFF)
		value = "on";
	if (!value || (key->kind == STRING && !*value))
		return cmfs_err_set(err, -EINVAL, "'%s' needs a value, %s=%s", name, name,
				    key->shown.arg);
	switch (key->kind) {
	case STRING:
		if (set_string(field(spec, key), value) == 0)
			return 0;
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	case ON_OFF:
	case WORD:
		return set_word(spec, key, value, err);
	case SIZE:
		if (parse_size(value, field(spec, key)) == 0)
			return 0;
		return cmfs_err_set(err, -EINVAL,
				    "%s=%s: it is a number of bytes, with k, M or G behind it for "
				    "multiples of 1024",
				    name, value);
	case PARSED:
		break;
	}
	return key->parse(spec, value, err);
}

/* Take "key=value" or "key" off the beginning of @text; returns what is behind it. */
static const char *next_part(const char *text, char *ret)
{
	for (; *text; text++) {
		if (text[0] == ',' && text[1] != ',')
			break;
		if (text[0] == ',')
			text++;
		*ret++ = *text;
	}
	*ret = '\0';
	return *text ? text + 1 : text;
}

int cmfs_image_spec_parse(struct cmfs_image_spec *spec, const char *text, struct cmfs_err *err)
{
	char *part = malloc(strlen(text) + 1), *value;
	struct cmfs_err why;
	int r = 0;

	if (!part)
		return cmfs_err_set(err, -ENOMEM, "out of memory");
	for (const char *rest = text; *rest && r == 0;) {
		rest = next_part(rest, part);
		if (!*part)
			continue;
		value = strchr(part, '=');
		if (value)
			*value++ = '\0';
		r = cmfs_image_spec_set(spec, part, value, &why);
	}
	free(part);
	if (r == 0 && !spec->path)
		r = cmfs_err_set(&why, -EINVAL, "file=PATH is missing");
	return r < 0 ? cmfs_err_set(err, r, "--drive %s: %s", text, why.msg) : 0;
}

int cmfs_image_spec_complete(struct cmfs_image_spec *spec, struct cmfs_err *err)
{
	char name[NAME_MAX + 1];

	spec->name_given = spec->name;
	if (spec->name || !cmfs_nbd_is_uri(spec->path))
		return 0;
	cmfs_nbd_uri_name(spec->path, name, sizeof(name));
	return set_string(&spec->name, name) == 0 ? 0 : cmfs_err_set(err, -ENOMEM, "out of memory");
}

/* What only a file of the host's can have. */
static int check_nbd(const struct cmfs_image_spec *spec, struct cmfs_err *err)
{
	const char *key = spec->persist				  ? "persist=on"
			  : spec->keep_sync_flag		  ? "syncflag=on"
			  : spec->host.locking == CMFS_LOCKING_ON ? "locking=on"
			  : spec->host.aio == CMFS_AIO_NATIVE	  ? "aio=native"
			  : spec->host.aio == CMFS_AIO_IO_URING	  ? "aio=io_uring"
								  : NULL;

	if (key)
		return cmfs_err_set(err, -EINVAL,
				    "%s: %s is for files of this host, not for NBD exports",
				    spec->path, key);
	return cmfs_nbd_uri_check(spec->path, err);
}

int cmfs_image_spec_check(const struct cmfs_image_spec *spec, struct cmfs_err *err)
{
	const char *layer = cmfs_image_spec_layer(spec);

	if (spec->name && (strchr(spec->name, '/') || strcmp(spec->name, ".") == 0 ||
			   strcmp(spec->name, "..") == 0))
		return cmfs_err_set(err, -EINVAL,
				    "%s: name=%s: it is the name of a file, without a slash",
				    spec->path, spec->name);
	if (cmfs_nbd_is_uri(spec->path)) {
		int r = check_nbd(spec, err);

		if (r < 0)
			return r;
	}
	if (spec->log_writes && spec->readonly)
		return cmfs_err_set(err, -EINVAL,
				    "%s: log-writes: there is nothing to log of a read-only image",
				    spec->path);
	if (spec->detect_zeroes == CMFS_DETECT_ZEROES_UNMAP && spec->discard == CMFS_DISCARD_IGNORE)
		return cmfs_err_set(err, -EINVAL,
				    "%s: detect-zeroes=unmap gives back what discard=ignore keeps; "
				    "detect-zeroes=on works with it",
				    spec->path);
	if (spec->snapshot && !spec->readonly && spec->persist)
		return cmfs_err_set(err, -EINVAL,
				    "%s: persist=on stores modes on the image, which snapshot=on "
				    "never changes",
				    spec->path);
	if (layer && spec->keep_sync_flag)
		return cmfs_err_set(err, -EINVAL,
				    "%s: syncflag=on serves passthrough, which %s forbids",
				    spec->path, layer);
	return 0;
}

/* ---- life ---- */

int cmfs_image_spec_copy(const struct cmfs_image_spec *spec, struct cmfs_image_spec *ret)
{
	int r = 0;

	*ret = *spec;
	for (size_t i = 0; i < KEYS; i++) {
		const char **string = field(ret, &keys[i]);

		if (keys[i].kind != STRING || !*string)
			continue;
		*string = r == 0 ? strdup(*string) : NULL;
		if (!*string)
			r = -ENOMEM;
	}
	if (r < 0)
		cmfs_image_spec_finish(ret);
	return r;
}

void cmfs_image_spec_finish(struct cmfs_image_spec *spec)
{
	for (size_t i = 0; i < KEYS; i++) {
		const char **string = field(spec, &keys[i]);

		if (keys[i].kind != STRING)
			continue;
		free((char *)*string);
		*string = NULL;
	}
}

const char *cmfs_image_spec_name(const struct cmfs_image_spec *spec)
{
	const char *slash = strrchr(spec->path, '/');

	return spec->name ? spec->name : slash ? slash + 1 : spec->path;
}
