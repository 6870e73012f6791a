# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A way through the modes that takes each of the 25 ordered pairs, from a mode to
# itself included, exactly once and ends where it began, so it can be repeated.
# shellcheck disable=SC2034 # for those who source it

all_switches="none none writethrough none directsync none unsafe none writeback
	writethrough writethrough directsync writethrough unsafe writethrough writeback
	directsync directsync unsafe directsync writeback unsafe unsafe writeback writeback"
