// SPDX-License-Identifier: GPL-2.0-or-later
#include "mem_hold.h"

void mem_hold_hook(void *arg, const struct mem_event *event, enum mem_stage stage)
{
	struct mem_hold *hold = arg;

	pthread_mutex_lock(&hold->lock);
	if (hold->armed && hold->op == event->op && hold->stage == stage) {
		hold->armed = false;
		hold->held = true;
		pthread_cond_broadcast(&hold->changed);
		while (hold->held)
			pthread_cond_wait(&hold->changed, &hold->lock);
	}
	pthread_mutex_unlock(&hold->lock);
}

void mem_hold_arm(struct mem_hold *hold, enum mem_op op, enum mem_stage stage)
{
	pthread_mutex_lock(&hold->lock);
	hold->op = op;
	hold->stage = stage;
	hold->armed = true;
	pthread_mutex_unlock(&hold->lock);
}

void mem_hold_wait(struct mem_hold *hold)
{
	pthread_mutex_lock(&hold->lock);
	while (!hold->held)
		pthread_cond_wait(&hold->changed, &hold->lock);
	pthread_mutex_unlock(&hold->lock);
}

void mem_hold_release(struct mem_hold *hold)
{
	pthread_mutex_lock(&hold->lock);
	hold->held = false;
	pthread_cond_broadcast(&hold->changed);
	pthread_mutex_unlock(&hold->lock);
}
