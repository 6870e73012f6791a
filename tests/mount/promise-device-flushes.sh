#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Promises as the disk sees them: the flushes that reach a block device under the
# host's file system (field 16 of its stat). In sync modes each acknowledged change
# costs one (P1), in flush modes each fsync and msync (P2), in unsafe nothing does (P3),
# and the application's O_DSYNC does everywhere but in unsafe (P4). The same whoever
# serves a handle, daemon or kernel; but in unsafe RWF_DSYNC and msync do flush where
# the kernel serves the handle.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
hostfs_make host ext4
mkdir "$T/mnt"

N=20
count() { # NAME AT-LEAST AT-MOST; runs "$step" N times with $i
	local before after i
	before=$(flushes host)
	for ((i = 0; i < N; i++)); do
		eval "$step"
	done
	after=$(($(flushes host) - before))
	echo "$mode, $N times $1: $after flushes"
	if [ "$after" -lt "$2" ] || [ "$after" -gt "$3" ]; then
		fail "$mode, $1: $after flushes, wanted $2 to $3"
	fi
}

many=1000000
few=6 # were the file system to commit its journal by itself, on a slow machine again
how=("" direct dsync "direct dsync") # handles 1 to 4

# The first handle may settle whether there is passthrough: in writethrough it does.
run() { # HANDLE... in the order of their opening
	local h own rwf
	fallocate -l 4M "$T/host/img"
	sync -f "$T/host"
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	fileop_start
	for h in "$@"; do
		# shellcheck disable=SC2086 # words
		ok open "$h" "$T/mnt/img" ${how[h - 1]}
	done
	# $change, ...: two arguments each.
	# shellcheck disable=SC2086,SC2016
	{
		for h in 1 2 3 4; do
			own=$change rwf=$dsync
			case $h in 3 | 4) own=$dsync ;; esac
			! served_by_kernel "$mode" "${how[h - 1]}" || rwf=$dsync_by_kernel
			name="handle $h (${how[h - 1]:-plain})"
			step='ok write $h $((i * 4096)) 4096 a' && count "$name, write" $own
			step='ok write $h $((i * 4096)) 4096 b dsync' && count "$name, RWF_DSYNC" $rwf
			step='ok write $h $((i * 4096)) 4096 c && ok fsync $h' && count "$name, write, fsync" $flush
		done
		step='ok write 1 $((i * 1000)) 100 a' && count "write of 100" $change
		step='ok truncate 1 $((8000001 + i * 1000))' && count truncate $change
		step='ok fallocate 1 punch $((i * 65536)) 65536' && count punch $change
		ok mmap 1 0 65536
		step='ok poke 1 $((i * 1000)) 100 d && ok msync 1' && count msync $msync
	}
	fileop_stop
	before=$(flushes host)
	cmfs_stop c
	after=$(($(flushes host) - before))
	echo "$mode, unmount: $after flushes"
	case $mode in
	unsafe) [ $after -le $few ] || fail "unsafe: flushed at the unmount" ;;
	writeback | none) [ $after -ge 1 ] || fail "$mode: no flush at the unmount" ;;
	esac
	rm "$T/host/img"
}

for mode in $modes; do
	case $mode in
	writethrough | directsync) change="$N $many" flush="0 $many" dsync="$N $many" ;;
	unsafe) change="0 $few" flush="0 $few" dsync="0 $few" ;;
	*) change="0 $few" flush="$N $many" dsync="$N $many" ;;
	esac
	dsync_by_kernel=$dsync msync=$dsync
	if [ "$mode" = unsafe ] && served_by_kernel unsafe; then
		dsync_by_kernel="0 $many" msync="0 $many"
	fi
	run 1 2 3 4
	run 4 3 2 1
done
