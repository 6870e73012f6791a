#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Promises as the disk sees them: the flushes that reach a block device under the
# host's file system (field 16 of its stat). In sync modes each acknowledged change
# costs one (P1), in flush modes each fsync (P2), in unsafe nothing does (P3), and
# the application's O_DSYNC does everywhere but in unsafe (P4).
# Not yet told what passthrough changes: on the daemon's data path in both runs.
CMFS_PASSTHROUGH=off
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
truncate -s 256M "$T/disk"
loop=""
loop_attach loop "$T/disk"
mkfs.ext4 -q "$loop"
mkdir "$T/host" "$T/mnt"
mount -o commit=300 "$loop" "$T/host"
track_mount "$T/host"

flushes() {
	awk '{ print $16 }' "/sys/class/block/${loop#/dev/}/stat"
}

N=20
count() { # NAME AT-LEAST AT-MOST; runs "$step" N times with $i
	local before after i
	before=$(flushes)
	for ((i = 0; i < N; i++)); do
		eval "$step"
	done
	after=$(($(flushes) - before))
	echo "$mode, $N times $1: $after flushes"
	if [ "$after" -lt "$2" ] || [ "$after" -gt "$3" ]; then
		fail "$mode, $1: $after flushes, wanted $2 to $3"
	fi
}

many=1000000
few=3 # were the file system to commit its journal by itself
for mode in $modes; do
	fallocate -l 4M "$T/host/img"
	sync -f "$T/host"
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	case $mode in
	writethrough | directsync) change="$N $many" flush="0 $many" own="$N $many" ;;
	unsafe) change="0 $few" flush="0 $few" own="0 $few" ;;
	*) change="0 $few" flush="$N $many" own="$N $many" ;;
	esac
	# $change, $flush, $own: two arguments each.
	# shellcheck disable=SC2086,SC2016
	{
		step='ok write 1 $((i * 4096)) 4096 a' && count "write of 4096" $change
		step='ok write 1 $((i * 1000)) 100 a' && count "write of 100" $change
		step='ok truncate 1 $((8000001 + i * 1000))' && count truncate $change
		step='ok fallocate 1 punch $((i * 65536)) 65536' && count punch $change
		step='ok write 1 $((i * 4096)) 4096 b && ok fsync 1' && count "write, fsync" $flush
		step='ok write 2 $((i * 4096)) 4096 c' && count "O_DSYNC write" $own
		step='ok write 1 $((i * 4096)) 4096 d dsync' && count "RWF_DSYNC write" $own
	}
	fileop_stop
	before=$(flushes)
	cmfs_stop c
	after=$(($(flushes) - before))
	echo "$mode, unmount: $after flushes"
	case $mode in
	unsafe) [ $after -le $few ] || fail "unsafe: flushed at the unmount" ;;
	writeback | none) [ $after -ge 1 ] || fail "$mode: no flush at the unmount" ;;
	esac
	rm "$T/host/img"
done
