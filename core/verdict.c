// SPDX-License-Identifier: GPL-2.0-or-later
#include "verdict.h"

#include <assert.h>

void cmfs_verdicts_init(struct cmfs_verdicts *verdicts) CMFS_NO_TSA
{
	*verdicts = (struct cmfs_verdicts){
		.lock = CMFS_MUTEX_INITIALIZER,
		.settled = PTHREAD_COND_INITIALIZER,
	};
}

void cmfs_verdicts_finish(struct cmfs_verdicts *verdicts) CMFS_NO_TSA
{
	assert(!verdicts->first);
	pthread_cond_destroy(&verdicts->settled);
	pthread_mutex_destroy(&verdicts->lock.m);
}

void cmfs_verdict_ask(struct cmfs_verdicts *verdicts, struct cmfs_verdict *verdict)
{
	cmfs_mutex_lock(&verdicts->lock);
	*verdict = (struct cmfs_verdict){ .number = verdicts->asked++, .prev = verdicts->last };
	if (verdicts->last)
		verdicts->last->next = verdict;
	else
		verdicts->first = verdict;
	verdicts->last = verdict;
	cmfs_mutex_unlock(&verdicts->lock);
}

void cmfs_verdict_settle(struct cmfs_verdicts *verdicts, struct cmfs_verdict *verdict, bool wait)
{
	uint64_t now;

	cmfs_mutex_lock(&verdicts->lock);
	if (verdict->prev)
		verdict->prev->next = verdict->next;
	else
		verdicts->first = verdict->next;
	if (verdict->next)
		verdict->next->prev = verdict->prev;
	else
		verdicts->last = verdict->prev;
	pthread_cond_broadcast(&verdicts->settled);

	now = verdicts->asked;
	while (wait && verdicts->first && verdicts->first->number < now)
		cmfs_cond_wait(&verdicts->settled, &verdicts->lock);
	cmfs_mutex_unlock(&verdicts->lock);
}
