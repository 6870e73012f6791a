// SPDX-License-Identifier: GPL-2.0-or-later
/* Fault rules: what is accepted is described in words that are accepted again. */
#include "cmfs/fault.h"
#include "fuzz.h"

#include <errno.h>

/* The description as a spec: without its counts (" hits=0") and spaces. */
static void make_spec(char *text)
{
	char *hits;
	size_t n = 0;

	while ((hits = strstr(text, " hits=0")))
		memmove(hits, hits + 7, strlen(hits + 7) + 1);
	for (const char *p = text; *p; p++) {
		if (*p != ' ')
			text[n++] = *p;
	}
	text[n] = '\0';
}

static void use(const struct cmfs_fault_rules *rules)
{
	struct cmfs_faults *faults = cmfs_faults_create();
	struct cmfs_fault_rules again;
	struct cmfs_err err = { "" };
	char text[CMFS_FAULT_TEXT_LEN];

	FUZZ_CHECK(faults, "out of memory");
	cmfs_faults_set(faults, rules);
	FUZZ_CHECK(cmfs_faults_describe(faults, text, sizeof(text)) < (int)sizeof(text),
		   "too long");
	make_spec(text);
	FUZZ_CHECK(cmfs_fault_parse(text, &again, &err) == 0, "'%s': %s", text, err.msg);
	FUZZ_CHECK(again.count == rules->count, "%zu rules, then %zu", rules->count, again.count);
	for (size_t i = 0; i < again.count; i++)
		FUZZ_CHECK(again.rule[i].ops == rules->rule[i].ops &&
				   again.rule[i].error == rules->rule[i].error &&
				   again.rule[i].range_end == rules->rule[i].range_end,
			   "rule %zu of '%s'", i, text);
	for (unsigned int i = 0; i < 64; i++) {
		struct cmfs_fault_verdict v =
			cmfs_faults_ask(faults, i % CMFS_FAULT_OPS, i * 4096, 4096);

		FUZZ_CHECK(v.error <= 0 && v.error > -4096, "error %d", v.error);
	}
	cmfs_faults_unref(faults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct cmfs_fault_rules rules;
	struct cmfs_err err = { "" };
	char *text = fuzz_text(&in);
	int r = cmfs_fault_parse(text, &rules, &err);

	FUZZ_CHECK(r == 0 || (r == -EINVAL && err.msg[0]), "%d '%s'", r, err.msg);
	if (r == 0)
		use(&rules);
	free(text);
	return 0;
}
