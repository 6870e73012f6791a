#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The stress test (stress.c): for each mode, with kernel passthrough, without it, and
# with the layers for power cuts and faults, processes that do all that can be done to an
# image, and all that can happen to it meanwhile. Counts what was done; fails if a promise
# was broken. As root.
#
# usage: tests/stress/run.sh [-t SECONDS] [-s SEED] [-m MODES]
#   -t SECONDS  of each of the 15 runs (default: 10)
#   -s SEED     repeats the choices of a run (default: a new one, which is printed)
#   -m MODES    only these, as "none directsync"
#   CMFS=PATH CMFS_BUILD=DIR  the cmfs, and the build whose stress to use (build-plain)
#   CMFS_TEST_DIR=DIR         where the images lie (default: /var/tmp)
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=10
seed=$((RANDOM * 32768 + RANDOM + 1))
modes="writeback none writethrough directsync unsafe"
while getopts t:s:m: option; do
	case $option in
	t) seconds=$OPTARG ;;
	s) seed=$OPTARG ;;
	m) modes=$OPTARG ;;
	*)
		sed -n '/^# usage/,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
		exit 2
		;;
	esac
done
CMFS_BUILD=${CMFS_BUILD:-$PWD/build-plain}
CMFS=${CMFS:-$CMFS_BUILD/fuse/cmfs}

work=$(mktemp -d "${CMFS_TEST_DIR:-/var/tmp}/cmfs-stress.XXXXXX")
# shellcheck disable=SC2317 # it is a trap
at_exit() {
	umount -l "$work/mnt" 2>/dev/null || true
	rm -rf --one-file-system "$work"
}
trap at_exit EXIT
export ASAN_OPTIONS="log_path=$work/sanitizer"
export UBSAN_OPTIONS="print_stacktrace=1:log_path=$work/sanitizer"
export TSAN_OPTIONS="log_path=$work/sanitizer:suppressions=$PWD/tests/lib/tsan.supp"

status=0
for mode in $modes; do
	for how in "" "passthrough=off" "layer"; do
		# shellcheck disable=SC2086 # no argument if empty
		if ! "$CMFS_BUILD/tests/stress/stress" "$CMFS" "$work" "$mode" "$seconds" "$seed" \
			$how >"$work/log" 2>&1; then
			status=1
			tail -n 40 "$work/log"
		fi
		grep '^[a-z,=]* seed=' "$work/log" || true
		if compgen -G "$work/sanitizer.*" >/dev/null; then
			status=1
			cat "$work"/sanitizer.*
			rm -f "$work"/sanitizer.*
		fi
		seed=$((seed + 1))
	done
done
exit $status
