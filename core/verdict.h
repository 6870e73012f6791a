/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_VERDICT_H
#define CMFS_VERDICT_H

#include "mutex.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Who is asking the host at this moment whether data is durable (P5).
 *
 * The host tells that writeback failed once, to whoever asks first (errseq_t: once
 * per open file). Another flush that runs at the same time hears "all is well",
 * and would say so before the first one has marked the image as failed. So who
 * heard "all is well" waits for those that asked before it had its answer, and
 * looks at the image's failure then. It never waits for later ones: nobody
 * starves, and who is alone waits for nobody.
 *
 * Source: Documentation/filesystems/vfs.rst, "Handling errors during writeback".
 */
struct cmfs_verdicts {
	struct cmfs_mutex lock;		   /* protects all below */
	struct cmfs_verdict *first, *last; /* in the order of asking */
	uint64_t asked;			   /* counts them */
	pthread_cond_t settled;
};

/* One request's question; lives on its stack. The fields are ours. */
struct cmfs_verdict {
	uint64_t number;
	struct cmfs_verdict *prev, *next;
};

void cmfs_verdicts_init(struct cmfs_verdicts *verdicts);
void cmfs_verdicts_finish(struct cmfs_verdicts *verdicts); /* nobody asks */

/* Any thread; before the call into the backend. */
void cmfs_verdict_ask(struct cmfs_verdicts *verdicts, struct cmfs_verdict *verdict);

/* After it, and after a failure was recorded. @wait: for those that asked before now. */
void cmfs_verdict_settle(struct cmfs_verdicts *verdicts, struct cmfs_verdict *verdict, bool wait);

#endif
