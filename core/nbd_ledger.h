/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_NBD_LEDGER_H
#define CMFS_NBD_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What would be lost with the server: changes that it acknowledged and that no flush
 * has covered yet.
 *
 * A generation is the time from a (re)connect to the loss of a connection. What ran
 * in an earlier one counts for nothing: another server may answer now.
 *
 * No locking: protected by whatever protects what it is embedded in.
 */
struct cmfs_nbd_ledger {
	uint64_t generation;
	uint64_t changed; /* changes acknowledged so far */
	uint64_t durable; /* how many of them, from the first one on, a flush covered */
	bool lost;	  /* some that were not covered went with a connection; stays set */
};

/** cmfs_nbd_ledger_change() - the server acknowledged a change; false: too late. */
bool cmfs_nbd_ledger_change(struct cmfs_nbd_ledger *ledger, uint64_t generation);

/** cmfs_nbd_ledger_begin_flush() - what a flush covers that is sent from now on. */
uint64_t cmfs_nbd_ledger_begin_flush(const struct cmfs_nbd_ledger *ledger);

/** cmfs_nbd_ledger_end_flush() - the server acknowledged it; false: too late. */
bool cmfs_nbd_ledger_end_flush(struct cmfs_nbd_ledger *ledger, uint64_t generation,
			       uint64_t covers);

/** cmfs_nbd_ledger_lose() - a connection is lost; false: its generation was over already. */
bool cmfs_nbd_ledger_lose(struct cmfs_nbd_ledger *ledger, uint64_t generation);

/** cmfs_nbd_ledger_start_over() - what was lost is known to be, and is changed anew. */
void cmfs_nbd_ledger_start_over(struct cmfs_nbd_ledger *ledger);

#endif
