/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CMFS_POLICY_H
#define CMFS_POLICY_H

#include "cmfs/backend.h"
#include "cmfs/cache_mode.h"

/*
 * What a mode demands of an operation: pure functions of the mode's row and of
 * what the application asked for. They are the promises P1-P4 as code.
 */

/**
 * cmfs_policy_write() - the durability a write must have before it is
 * acknowledged.
 * @asked: what the application's own flags demand (O_DSYNC, O_SYNC, RWF_DSYNC).
 */
enum cmfs_durability cmfs_policy_write(const struct cmfs_cache_props *mode,
				       enum cmfs_durability asked);

/**
 * cmfs_policy_change() - must a change other than a write (truncate, fallocate,
 * copy) be followed by a flush before it is acknowledged? O_DSYNC on the
 * descriptor covers write calls only (P1).
 */
bool cmfs_policy_change(const struct cmfs_cache_props *mode);

/**
 * cmfs_policy_switch() - must a switch from the present mode to @to flush? Not
 * when the new mode promises nothing about it (P7).
 */
bool cmfs_policy_switch(const struct cmfs_cache_props *to);

#endif
