// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading fault rules. The tables describe operations, keys and errors (fault.h). */
#include "cmfs/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define ANY ((1U << CMFS_FAULT_OPS) - 1)

/* Operations that touch bytes, so that a range can be told of them. */
#define WITH_RANGE (ANY & ~(1U << CMFS_FAULT_FLUSH | 1U << CMFS_FAULT_REOPEN))

struct word {
	const char *name;
	unsigned int value;
};

static const struct word operations[] = {
	{ "read", 1U << CMFS_FAULT_READ },	   { "write", 1U << CMFS_FAULT_WRITE },
	{ "flush", 1U << CMFS_FAULT_FLUSH },	   { "truncate", 1U << CMFS_FAULT_TRUNCATE },
	{ "allocate", 1U << CMFS_FAULT_ALLOCATE }, { "punch", 1U << CMFS_FAULT_PUNCH },
	{ "zero", 1U << CMFS_FAULT_ZERO },	   { "seek", 1U << CMFS_FAULT_SEEK },
	{ "reopen", 1U << CMFS_FAULT_REOPEN },	   { "any", ANY },
};

/* What a host can answer to the operations above. ENOSYS the kernel would remember. */
/* clang-format off */
static const struct word errors[] = {
	{ "EIO", EIO }, { "ENOSPC", ENOSPC }, { "EDQUOT", EDQUOT }, { "EFBIG", EFBIG },
	{ "EROFS", EROFS }, { "ENOMEM", ENOMEM }, { "ENXIO", ENXIO }, { "ENODEV", ENODEV },
	{ "ETIMEDOUT", ETIMEDOUT }, { "EAGAIN", EAGAIN }, { "EINTR", EINTR },
	{ "EBUSY", EBUSY }, { "EPERM", EPERM }, { "EACCES", EACCES }, { "EINVAL", EINVAL },
	{ "EOPNOTSUPP", EOPNOTSUPP }, { "ESTALE", ESTALE }, { "EREMOTEIO", EREMOTEIO },
	{ "EILSEQ", EILSEQ }, { "ENOLINK", ENOLINK }, { "EBADF", EBADF },
};
/* clang-format on */

/* ---- numbers ---- */

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit no_units[] = { { "", 1 }, { NULL } };
static const struct unit time_units[] = { { "us", 1 }, { "ms", 1000 }, { "s", 1000000 }, { NULL } };
static const struct unit size_units[] = {
	{ "", 1 },
	{ "k", UINT64_C(1) << 10 },
	{ "K", UINT64_C(1) << 10 },
	{ "M", UINT64_C(1) << 20 },
	{ "G", UINT64_C(1) << 30 },
	{ "T", UINT64_C(1) << 40 },
	{ NULL },
};

/* Digits and one of @units, and no more; at most @max. */
static bool parse_number(const char *text, const struct unit *units, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (value > (UINT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (uint64_t)(*text - '0');
	}
	for (; units->name; units++) {
		if (strcmp(text, units->name) == 0) {
			if (value > max / units->factor)
				return false;
			*ret = value * units->factor;
			return true;
		}
	}
	return false;
}

/* ---- keys: each fills a field; false: the value is none ---- */

#define HOUR_US (UINT64_C(3600) * 1000000)

static bool parse_delay(struct cmfs_fault_rule *rule, const char *value)
{
	return parse_number(value, time_units, HOUR_US, &rule->delay_us) && rule->delay_us > 0;
}

static bool parse_range(struct cmfs_fault_rule *rule, const char *value)
{
	const char *dash = strchr(value, '-');
	char start[32];

	if (!dash || (size_t)(dash - value) >= sizeof(start))
		return false;
	memcpy(start, value, dash - value);
	start[dash - value] = '\0';
	if (!parse_number(start, size_units, INT64_MAX, &rule->range_start))
		return false;
	if (!dash[1])
		return true; /* no end */
	return parse_number(dash + 1, size_units, INT64_MAX, &rule->range_end) &&
	       rule->range_start < rule->range_end;
}

static bool parse_after(struct cmfs_fault_rule *rule, const char *value)
{
	return parse_number(value, no_units, INT64_MAX, &rule->after);
}

static bool parse_every(struct cmfs_fault_rule *rule, const char *value)
{
	return parse_number(value, no_units, INT64_MAX, &rule->every) && rule->every > 0;
}

/* "10%", "0.5%": in a million, so with four digits behind the point at most. */
static bool parse_rate(struct cmfs_fault_rule *rule, const char *value)
{
	uint32_t rate = 0, unit = 10000;
	const char *p = value;

	for (; *p >= '0' && *p <= '9' && rate <= CMFS_FAULT_RATE_ALWAYS; p++)
		rate = rate * 10 + (uint32_t)(*p - '0') * unit;
	if (p == value)
		return false;
	if (*p == '.') {
		for (p++; *p >= '0' && *p <= '9' && unit >= 10; p++) {
			unit /= 10;
			rate += (uint32_t)(*p - '0') * unit;
		}
		if (p[-1] == '.')
			return false;
	}
	rule->rate = rate;
	return strcmp(p, "%") == 0 && rate > 0 && rate <= CMFS_FAULT_RATE_ALWAYS;
}

static bool parse_seed(struct cmfs_fault_rule *rule, const char *value)
{
	return parse_number(value, no_units, INT64_MAX, &rule->seed);
}

static bool parse_times(struct cmfs_fault_rule *rule, const char *value)
{
	return parse_number(value, no_units, INT64_MAX, &rule->times) && rule->times > 0;
}

static bool parse_once(struct cmfs_fault_rule *rule, const char *value)
{
	rule->times = 1;
	return true;
}

/* What a part of a rule sets; each but once. */
enum field {
	FIELD_ERROR = 1 << 0,
	FIELD_DELAY = 1 << 1,
	FIELD_RANGE = 1 << 2,
	FIELD_AFTER = 1 << 3,
	FIELD_EVERY = 1 << 4,
	FIELD_RATE = 1 << 5,
	FIELD_SEED = 1 << 6,
	FIELD_TIMES = 1 << 7,
};

static const struct key {
	const char *name;
	const char *like; /* what a value looks like; NULL: takes none */
	bool (*parse)(struct cmfs_fault_rule *rule, const char *value);
	enum field field;
} keys[] = {
	{ "delay", "50ms (us, ms or s; an hour at most)", parse_delay, FIELD_DELAY },
	{ "range", "1M-2M, or 4G- without an end", parse_range, FIELD_RANGE },
	{ "after", "100", parse_after, FIELD_AFTER },
	{ "every", "10", parse_every, FIELD_EVERY },
	{ "rate", "10% or 0.5%", parse_rate, FIELD_RATE },
	{ "seed", "1", parse_seed, FIELD_SEED },
	{ "times", "3", parse_times, FIELD_TIMES },
	{ "once", NULL, parse_once, FIELD_TIMES },
};

#define KEY_NAMES "delay=, range=, after=, every=, rate=, seed=, times= and once"

/* ---- sentences ---- */

static const struct word *find_word(const struct word *words, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(words[i].name, name) == 0)
			return &words[i];
	}
	return NULL;
}

struct names {
	char text[256];
};

static struct names names_of(const struct word *words, size_t count)
{
	struct names names = { "" };

	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(names.text);

		snprintf(names.text + n, sizeof(names.text) - n, "%s%s", n ? " " : "",
			 words[i].name);
	}
	return names;
}

static int err_part(const struct cmfs_fault_rule *rule, const char *part, struct cmfs_err *err)
{
	return cmfs_err_set(err, -EINVAL,
			    "fault rule '%s': '%s' is neither a key (" KEY_NAMES
			    ") nor an error (%s)",
			    rule->text, part, names_of(errors, COUNT(errors)).text);
}

/* ---- rules ---- */

static const struct key *find_key(const char *part, const char **ret_value)
{
	size_t len = strcspn(part, "=");

	*ret_value = part[len] == '=' ? part + len + 1 : NULL;
	for (size_t i = 0; i < COUNT(keys); i++) {
		if (strlen(keys[i].name) == len && strncmp(keys[i].name, part, len) == 0)
			return &keys[i];
	}
	return NULL;
}

/* @fields: what the parts before have set. */
static int parse_part(struct cmfs_fault_rule *rule, const char *part, unsigned int *fields,
		      struct cmfs_err *err)
{
	const struct word *error = find_word(errors, COUNT(errors), part);
	const char *value;
	const struct key *key = find_key(part, &value);
	unsigned int field = error ? FIELD_ERROR : key ? key->field : 0;

	if (!field)
		return err_part(rule, part, err);
	if (*fields & field)
		return cmfs_err_set(err, -EINVAL,
				    "fault rule '%s': '%s' comes after another of its kind",
				    rule->text, part);
	*fields |= field;
	if (error) {
		rule->error = -(int)error->value;
		return 0;
	}
	if (!key->like != !value)
		return cmfs_err_set(err, -EINVAL, "fault rule '%s': '%s' %s%s", rule->text, part,
				    key->like ? "needs a value, like " : "takes no value",
				    key->like ? key->like : "");
	if (!key->parse(rule, value))
		return cmfs_err_set(err, -EINVAL,
				    "fault rule '%s': '%s' cannot be: its value is like %s",
				    rule->text, part, key->like);
	return 0;
}

/* What no single key shows. */
static int check_rule(const struct cmfs_fault_rule *rule, unsigned int fields, struct cmfs_err *err)
{
	const char *why = NULL;

	if (!(fields & (FIELD_ERROR | FIELD_DELAY)))
		why = "it needs an error, like EIO, or delay=TIME";
	else if (fields & FIELD_RANGE && !(rule->ops & WITH_RANGE))
		why = "flush and reopen touch no range of bytes";
	else if (fields & FIELD_SEED && !(fields & FIELD_RATE))
		why = "seed= is for rate=";
	return why ? cmfs_err_set(err, -EINVAL, "fault rule '%s': %s", rule->text, why) : 0;
}

/* @text: the rule, which is cut into its parts. */
static int parse_rule(char *text, struct cmfs_fault_rule *rule, struct cmfs_err *err)
{
	const struct word *operation;
	unsigned int fields = 0;
	char *part;
	int r = 0;

	*rule = (struct cmfs_fault_rule){
		.range_end = UINT64_MAX,
		.every = 1,
		.rate = CMFS_FAULT_RATE_ALWAYS,
	};
	if (strlen(text) >= sizeof(rule->text))
		return cmfs_err_set(err, -EINVAL, "fault rule '%.40s...': longer than %zu bytes",
				    text, sizeof(rule->text) - 1);
	memcpy(rule->text, text, strlen(text) + 1);

	part = strsep(&text, ":");
	operation = find_word(operations, COUNT(operations), part);
	if (!operation)
		return cmfs_err_set(err, -EINVAL,
				    "fault rule '%s': '%s' is no operation; the operations are %s "
				    "(write:EIO:after=100+flush:delay=50ms)",
				    rule->text, part, names_of(operations, COUNT(operations)).text);
	rule->ops = operation->value;
	while (r == 0 && (part = strsep(&text, ":")))
		r = parse_part(rule, part, &fields, err);
	return r < 0 ? r : check_rule(rule, fields, err);
}

int cmfs_fault_parse(const char *spec, struct cmfs_fault_rules *ret, struct cmfs_err *err)
{
	struct cmfs_fault_rules *rules = calloc(1, sizeof(*rules));
	char *copy = strdup(spec), *rest = copy, *text;
	int r = 0;

	if (!rules || !copy)
		r = cmfs_err_set(err, -ENOMEM, "out of memory");
	while (r == 0 && (text = strsep(&rest, "+"))) {
		if (rules->count == CMFS_FAULT_RULES_MAX)
			r = cmfs_err_set(err, -EINVAL, "more than %d fault rules",
					 CMFS_FAULT_RULES_MAX);
		else
			r = parse_rule(text, &rules->rule[rules->count++], err);
	}
	if (r == 0)
		*ret = *rules;
	free(copy);
	free(rules);
	return r;
}
