// SPDX-License-Identifier: GPL-2.0-or-later
#include "jobs.h"

#include <errno.h>
#include <stdlib.h>

struct job {
	struct cmfs_jobs *jobs;
	void (*work)(void *arg);
	void *arg;
};

void cmfs_jobs_init(struct cmfs_jobs *jobs)
{
	*jobs = (struct cmfs_jobs){
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.idle = PTHREAD_COND_INITIALIZER,
	};
}

void cmfs_jobs_finish(struct cmfs_jobs *jobs)
{
	pthread_cond_destroy(&jobs->idle);
	pthread_mutex_destroy(&jobs->lock);
}

static void ended(struct cmfs_jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	if (--jobs->running == 0)
		pthread_cond_broadcast(&jobs->idle);
	pthread_mutex_unlock(&jobs->lock);
}

static void *run(void *arg)
{
	struct job job = *(struct job *)arg;

	free(arg);
	job.work(job.arg);
	ended(job.jobs);
	return NULL;
}

static int spawn(struct job *job)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, run, job);
	pthread_attr_destroy(&attr);
	return -r;
}

int cmfs_jobs_start(struct cmfs_jobs *jobs, void (*work)(void *arg), void *arg)
{
	struct job *job = malloc(sizeof(*job));
	bool stopped;

	if (!job)
		return -EAGAIN;
	*job = (struct job){ .jobs = jobs, .work = work, .arg = arg };

	pthread_mutex_lock(&jobs->lock);
	stopped = jobs->stopped;
	if (!stopped)
		jobs->running++;
	pthread_mutex_unlock(&jobs->lock);
	if (stopped) {
		free(job);
		return -ESHUTDOWN;
	}
	if (spawn(job) < 0) {
		free(job);
		ended(jobs);
		return -EAGAIN;
	}
	return 0;
}

void cmfs_jobs_stop(struct cmfs_jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	jobs->stopped = true;
	while (jobs->running > 0)
		pthread_cond_wait(&jobs->idle, &jobs->lock);
	pthread_mutex_unlock(&jobs->lock);
}
