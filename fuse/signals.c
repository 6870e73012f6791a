// SPDX-License-Identifier: GPL-2.0-or-later
#include "signals.h"

#include <signal.h>
#include <stddef.h>
#include <time.h>

/* Wakes a thread from a system call; does nothing else. */
#define SIG_WAKE SIGUSR1
/* Ends the signal thread when the loop ended by itself. */
#define SIG_QUIT SIGUSR2

#define WAKE_INTERVAL_MS 20

static void on_wake(int sig)
{
}

static void end_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIG_QUIT);
}

void cmfs_signals_expect_children(void)
{
	const struct sigaction normal = { .sa_handler = SIG_DFL };

	sigaction(SIGCHLD, &normal, NULL);
}

void cmfs_signals_block(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, wake = { .sa_handler = on_wake };
	sigset_t set;

	end_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL); /* a file size limit: EFBIG instead */
	sigaction(SIG_WAKE, &wake, NULL);  /* without SA_RESTART */
	/* Whoever started us may have it blocked. */
	sigemptyset(&set);
	sigaddset(&set, SIG_WAKE);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void cmfs_signals_wake(pthread_t thread)
{
	pthread_kill(thread, SIG_WAKE);
}

static void *wait_for_signal(void *arg)
{
	const struct timespec interval = { .tv_nsec = WAKE_INTERVAL_MS * 1000000L };
	struct cmfs_signals *signals = arg;
	sigset_t set;
	int sig = 0;

	end_signals(&set);
	do {
		while (sigwait(&set, &sig) != 0)
			;
	} while (sig == SIG_QUIT && !atomic_load(&signals->loop_ended)); /* a stranger's */
	if (sig == SIG_QUIT)
		return NULL;
	signals->stop(signals->stop_arg);
	/* Once is not enough: the loop may be just about to go to sleep. */
	while (!atomic_load(&signals->loop_ended)) {
		cmfs_signals_wake(signals->loop_thread);
		nanosleep(&interval, NULL);
	}
	return NULL;
}

int cmfs_signals_start(struct cmfs_signals *signals, void (*stop)(void *arg), void *arg)
{
	*signals = (struct cmfs_signals){
		.loop_thread = pthread_self(),
		.stop = stop,
		.stop_arg = arg,
	};
	return -pthread_create(&signals->thread, NULL, wait_for_signal, signals);
}

void cmfs_signals_stop(struct cmfs_signals *signals)
{
	atomic_store(&signals->loop_ended, true);
	pthread_kill(signals->thread, SIG_QUIT);
	pthread_join(signals->thread, NULL);
}
