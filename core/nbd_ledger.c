// SPDX-License-Identifier: GPL-2.0-or-later
#include "nbd_ledger.h"

bool cmfs_nbd_ledger_change(struct cmfs_nbd_ledger *ledger, uint64_t generation)
{
	if (generation != ledger->generation)
		return false;
	ledger->changed++;
	return true;
}

uint64_t cmfs_nbd_ledger_begin_flush(const struct cmfs_nbd_ledger *ledger)
{
	return ledger->changed;
}

bool cmfs_nbd_ledger_end_flush(struct cmfs_nbd_ledger *ledger, uint64_t generation, uint64_t covers)
{
	if (generation != ledger->generation)
		return false;
	if (ledger->durable < covers)
		ledger->durable = covers;
	return true;
}

bool cmfs_nbd_ledger_lose(struct cmfs_nbd_ledger *ledger, uint64_t generation)
{
	if (generation != ledger->generation)
		return false;
	ledger->generation++;
	if (ledger->durable < ledger->changed)
		ledger->lost = true;
	return true;
}

void cmfs_nbd_ledger_start_over(struct cmfs_nbd_ledger *ledger)
{
	ledger->lost = false;
}
