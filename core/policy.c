// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy.h"

enum cmfs_durability cmfs_policy_write(const struct cmfs_cache_props *mode,
				       enum cmfs_durability asked)
{
	if (!mode->flush)
		return CMFS_VOLATILE; /* P3 */
	if (mode->dsync && asked < CMFS_DURABLE_DATA)
		return CMFS_DURABLE_DATA; /* P1 */
	return asked;			  /* P4 */
}

bool cmfs_policy_change(const struct cmfs_cache_props *mode)
{
	return mode->dsync;
}

bool cmfs_policy_switch(const struct cmfs_cache_props *to)
{
	return to->flush;
}
