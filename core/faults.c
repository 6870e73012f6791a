// SPDX-License-Identifier: GPL-2.0-or-later
/* Fault rules in force: who is hit, and how often (fault.h). */
#include "cmfs/fault.h"
#include "mutex.h"
#include "splitmix64.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct counts {
	uint64_t seen, hits;
	uint64_t random; /* state */
};

struct cmfs_faults {
	atomic_uint refs;
	struct cmfs_mutex lock; /* protects all below */
	struct cmfs_fault_rules rules;
	struct counts counts[CMFS_FAULT_RULES_MAX];
};

struct cmfs_faults *cmfs_faults_create(void)
{
	struct cmfs_faults *faults = calloc(1, sizeof(*faults));

	if (!faults)
		return NULL;
	atomic_init(&faults->refs, 1);
	faults->lock = (struct cmfs_mutex)CMFS_MUTEX_INITIALIZER;
	return faults;
}

struct cmfs_faults *cmfs_faults_ref(struct cmfs_faults *faults)
{
	atomic_fetch_add(&faults->refs, 1);
	return faults;
}

void cmfs_faults_unref(struct cmfs_faults *faults)
{
	if (!faults || atomic_fetch_sub(&faults->refs, 1) > 1)
		return;
	pthread_mutex_destroy(&faults->lock.m);
	free(faults);
}

void cmfs_faults_set(struct cmfs_faults *faults, const struct cmfs_fault_rules *rules)
{
	cmfs_mutex_lock(&faults->lock);
	faults->rules = rules ? *rules : (struct cmfs_fault_rules){ 0 };
	for (size_t i = 0; i < faults->rules.count; i++)
		faults->counts[i] = (struct counts){ .random = faults->rules.rule[i].seed };
	cmfs_mutex_unlock(&faults->lock);
}

int cmfs_faults_describe(struct cmfs_faults *faults, char *text, size_t size)
{
	size_t n = 0;

	cmfs_mutex_lock(&faults->lock);
	for (size_t i = 0; i < faults->rules.count; i++)
		n += (size_t)snprintf(n < size ? text + n : NULL, n < size ? size - n : 0,
				      "%s%s hits=%llu", i ? " + " : "", faults->rules.rule[i].text,
				      (unsigned long long)faults->counts[i].hits);
	cmfs_mutex_unlock(&faults->lock);
	return n ? (int)n : snprintf(text, size, "none");
}

static uint64_t next_random(uint64_t *state)
{
	uint64_t random = cmfs_splitmix64(*state);

	(*state)++;
	return random;
}

static bool concerns(const struct cmfs_fault_rule *rule, enum cmfs_fault_op op, uint64_t off,
		     uint64_t len)
{
	if (!(rule->ops & 1U << op))
		return false;
	if (rule->range_start == 0 && rule->range_end == UINT64_MAX)
		return true;
	return len > 0 && off < rule->range_end && off + len > rule->range_start;
}

/* In the order that fault.h gives for the keys. */
static bool hits(const struct cmfs_fault_rule *rule, struct counts *counts)
{
	uint64_t seen = ++counts->seen;

	if (seen <= rule->after || (seen - rule->after) % rule->every != 0)
		return false;
	if (rule->rate < CMFS_FAULT_RATE_ALWAYS &&
	    next_random(&counts->random) % CMFS_FAULT_RATE_ALWAYS >= rule->rate)
		return false;
	if (rule->times > 0 && counts->hits >= rule->times)
		return false;
	counts->hits++;
	return true;
}

struct cmfs_fault_verdict cmfs_faults_ask(struct cmfs_faults *faults, enum cmfs_fault_op op,
					  uint64_t off, uint64_t len)
{
	struct cmfs_fault_verdict verdict = { 0 };

	cmfs_mutex_lock(&faults->lock);
	for (size_t i = 0; i < faults->rules.count && !verdict.error; i++) {
		const struct cmfs_fault_rule *rule = &faults->rules.rule[i];

		if (!concerns(rule, op, off, len) || !hits(rule, &faults->counts[i]))
			continue;
		verdict.delay_us += rule->delay_us;
		verdict.error = rule->error;
	}
	cmfs_mutex_unlock(&faults->lock);
	return verdict;
}
