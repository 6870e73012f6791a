#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ext4 on an image whose power is cut while files are written: mount it again, which
# replays the journal, and look for the files whose fsync had returned; in the end,
# check the file system. In every mode but unsafe all of them must be there. Needs root.
#
# usage: examples/powercut-ext4.sh [-h] [MODE...]    (default: all five)
#   CMFS=PATH    the cmfs to use (default: build/fuse/cmfs, or the one in PATH)
#   TMPDIR=PATH  where to work (default: /var/tmp)
#   CUTS=N       power cuts in each mode (default: 4)
#   SEED=N       what survives (default: 1)
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=powercut-lib.sh
. "$SOURCE/examples/powercut-lib.sh"

case "${1:-}" in
-h | --help) usage 0 ;;
-*) usage 2 >&2 ;;
esac
cuts=${CUTS:-4}
seed=${SEED:-1}
find_cmfs
work_folder
machine_need

# Until a write fails: two files with fsync, which count, and one without.
write_files() { # ROUND
	local n name
	for ((n = 0; ; n++)); do
		name=file-$1-$n
		head -c $((RANDOM % 20000 + 1)) /dev/urandom >data
		if [ $((n % 3)) = 2 ]; then
			cp data "fs/$name"
		else
			dd if=data of="fs/$name" bs=1M conv=fsync status=none &&
				sha256sum <data | sed "s/-/$name/" >>fsynced
		fi || return 0
	done 2>/dev/null
}

# Sets files, lost, state.
try() { # MODE
	local round writer
	machine_make "$1"
	: >fsynced
	lost=0 state=
	for ((round = 1; round <= cuts; round++)); do
		boot || break
		write_files $round &
		writer=$!
		sleep 0.6
		power_cut random:$((seed * 100 + round))
		wait $writer
		halt
		if boot; then
			lost=$(is_lost fsynced | wc -l)
			halt
			continue
		fi
		state="cannot be mounted"
		lost=$(wc -l <fsynced)
		halt
		break
	done
	files=$(wc -l <fsynced)
	machine_remove
	if [ -z "$state" ]; then
		state=clean
		e2fsck -fn disk.raw >e2fsck.out 2>&1 || state="e2fsck finds errors"
	fi
}

status=0
[ $# -gt 0 ] || set -- writeback none writethrough directsync unsafe
printf '%-14s| %-6s| %-15s| %-5s| %s\n' mode cuts 'files fsynced' lost 'the file system then'
for mode; do
	try "$mode"
	printf '%-14s| %-6s| %-15s| %-5s| %s\n' "$mode" "$cuts" "$files" "$lost" "$state"
	if [ "$mode" != unsafe ] && [ "$lost $state" != "0 clean" ]; then
		echo "$mode: BROKEN PROMISE: fsync had returned (P1, P2)" >&2
		status=1
	fi
done
exit $status
