/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_TIME_NS_H
#define CMFS_TIME_NS_H

#include <stdint.h>
#include <time.h>

/* CLOCK_REALTIME in nanoseconds, in one number: what an atomic can hold. */

static inline int64_t cmfs_time_to_ns(const struct timespec *time)
{
	return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static inline struct timespec cmfs_time_of_ns(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

static inline int64_t cmfs_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return cmfs_time_to_ns(&now);
}

#endif
