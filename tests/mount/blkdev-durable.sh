#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A block device keeps the promises as the disk itself sees them, by the flushes that it
# counts (field 16 of its stat): in sync modes each acknowledged change is one (P1), in
# flush modes each fsync (P2), in unsafe nothing is, the unmount included (P3), and O_DSYNC
# is everywhere else (P4); after live switches too (P7). In direct modes nothing of it stays
# in the host's page cache (P6). What is discarded is given back below and reads as zeroes.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/blkdev.sh
. "$LIB/blkdev.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/mnt"
disk=$T/dev/disk
blkdev_make 16M
N=10

count() { # NAME AT-LEAST AT-MOST COMMAND; with $i from 0 to N - 1
	local before after i
	before=$(blkdev_flushes)
	for ((i = 0; i < N; i++)); do
		eval "$4"
	done
	after=$(($(blkdev_flushes) - before))
	echo "$what, $N times $1: $after flushes"
	if [ "$after" -lt "$2" ] || [ "$after" -gt "$3" ]; then
		fail "$what, $1: $after flushes, wanted $2 to $3"
	fi
	[ -z "$direct" ] || expect 0 "$(cached)" "$what, $1: pages in the host's cache"
}

set_wanted() {
	local many=100000
	change="0 0" flush="$N $many" dsync="$N $many" direct=""
	case $mode in
	writethrough | directsync) change="$N $many" ;;
	unsafe) flush="0 0" dsync="0 0" ;;
	esac
	case $mode in none | directsync) direct=1 ;; esac
}

# shellcheck disable=SC2016,SC2086 # evaluated in count(); two words each
zeroes() {
	set_wanted
	count zero $change 'ok fallocate 1 zero $((i * 65536)) 65000'
	want "65000 0" read 1 0 65000
}

# shellcheck disable=SC2016,SC2086
counts() {
	local h
	set_wanted
	for h in 1 2; do # plain and O_DIRECT
		count "write, handle $h" $change 'ok write '$h' $((i * 4096)) 4096 a'
		count "RWF_DSYNC, handle $h" $dsync 'ok write '$h' $((i * 4096)) 4096 b dsync'
		count "write of 100, handle $h" $change 'ok write 1 $((i * 1000 + 10)) 100 a'
		count "write and fsync, handle $h" $flush 'ok write 1 0 4096 a && ok fsync '$h
	done
	count "O_DSYNC" $dsync 'ok write 3 $((i * 4096)) 4096 c'
	count punch $change 'ok fallocate 1 punch $((i * 65536 + 100)) 65536'
	count copy $change 'ok copy 1 0 1 $((1048576 + i * 4096)) 4096'
	count read 0 0 'op read 1 $((i * 4000)) 4000 >/dev/null'
	ok mmap 1 0 65536
	count msync $dsync 'ok poke 1 $((i * 1000)) 100 d && ok msync 1'
	ok munmap 1
}

start() {
	cmfs_start c -o cache="$mode" "$T/dev/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" direct
	ok open 3 "$T/mnt/img" dsync
	blkdev_watch
	[ "$(cached)" != ENOSYS ] || skip "the kernel has no cachestat(2)"
}

for mode in $modes; do
	what="cache=$mode"
	start
	counts
	ok write 1 0 4096 e
	fileop_stop
	before=$(blkdev_flushes)
	cmfs_stop c
	after=$(($(blkdev_flushes) - before))
	echo "$what, unmount: $after flushes"
	case $mode in
	unsafe) [ "$after" = 0 ] || fail "$what: flushed at the unmount" ;;
	*) [ "$after" -ge 1 ] || fail "$what: no flush at the unmount" ;;
	esac
	expect "eeee" "$(head -c 4 "$disk")" "$what: on the device"
done

mode=writeback
start
ok write 1 0 1048576 w
[ "$(cached)" -ge 256 ] || fail "control: cache=writeback, but $(cached) pages are cached"
for mode in none writethrough unsafe directsync; do
	what="switched to $mode"
	ok cache 1 $mode
	counts
done

# Discards get down to the device's own file, of dirty pages too.
for mode in writeback none writethrough directsync; do
	what="cache=$mode, discard"
	ok cache 1 $mode
	dd if=/dev/urandom of="$T/mnt/img" bs=1M count=16 conv=notrunc status=none
	ok fsync 1
	full=$(blkdev_stored)
	ok write 1 4000000 1000000 x
	ok fallocate 1 punch 1000000 10000000
	want "4000000 0" read 1 1000000 4000000
	want "4000000 0" read 2 4194304 4000000
	ok fsync 1
	sync "$disk"
	[ "$(blkdev_stored)" -le $((full - 9000)) ] ||
		fail "$what: $full KiB before, $(blkdev_stored) after"
done

for mode in none directsync writethrough writeback unsafe; do
	what="cache=$mode"
	ok cache 1 $mode
	zeroes
done
fileop_stop
cmfs_stop c
