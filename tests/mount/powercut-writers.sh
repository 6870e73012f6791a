#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Hundreds of power cuts under writers that know what was acknowledged and what was
# durable (tests/helpers/powercut_writer.c): nothing is lost that a sync mode
# acknowledged (P1), that was flushed (P2), or that was written with O_DSYNC or
# RWF_DSYNC (P4). What no promise covers is lost, or the test would prove nothing: in
# unsafe (P3), and without fsync.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

cuts=40
[ "$CMFS_VARIANT" = plain ] || cuts=12
[ "$passthrough" = auto ] || cuts=5 # the same data path once more
seed=${CMFS_TEST_SEED:-$RANDOM}
echo "CMFS_TEST_SEED=$seed"

# Nothing durable is lost over all the cuts; and of the rest some, or none.
writers() { # LOST MODE OPTION...
	local wanted=$1 mode=$2 lost said tries=0
	shift 2
	setfattr -n user.cmfs.cache -v "$mode" "$T/mnt/img"
	# A few cuts may all come right after a flush, on a slow machine more often.
	while :; do
		said=$("$(helper powercut_writer)" "$T/mnt/img" "$cuts" "$((++seed % 30000))" "$@") ||
			fail "$mode $*: $said"
		echo "$mode $*: $said"
		lost=${said##*lost=}
		if [ "$wanted" != some ] || [ "$lost" != 0 ] || [ $((++tries)) -ge 20 ]; then
			break
		fi
	done
	case $wanted in
	some) [ "$lost" -gt 0 ] || fail "$mode $*: nothing is lost: a test that cannot fail" ;;
	*) expect 0 "$lost" "$mode $*: sectors with something acknowledged lost" ;;
	esac
}

mkdir "$T/mnt"
truncate -s 1M "$T/img"
# 64k: most of the data goes through the file.
cmfs_start c -o powercut=on,powercut-memory=64k "$T/img" "$T/mnt"
for mode in writethrough directsync; do
	writers none $mode durable
	writers none $mode durable fsync direct
done
for mode in writeback none; do
	writers some $mode
	writers some $mode fsync rwf
	writers some $mode fsync direct
	writers none $mode dsync
	writers none $mode dsync direct
done
writers some unsafe ignored fsync rwf
writers some unsafe ignored dsync
cmfs_stop c
! grep 'failed' "$T/c.log" || fail "an image of a next boot has failed"
