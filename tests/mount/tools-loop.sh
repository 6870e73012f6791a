#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Loop devices over an image in every mode, with and without --direct-io=on: a
# file system is made, filled, checked and found the same when everything was
# mounted anew; discarding punches holes in the host file, zeroing reads as zeroes.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

[ "$(id -u)" = 0 ] || skip "needs root for loop devices"

start() { # IMAGE LOSETUP-OPTION
	cmfs_start c -o cache="$mode" "$1" "$T/mnt"
	loop_attach dev "$2" "$T/mnt/$(basename "$1")"
}

stop() {
	loop_detach "$dev"
	cmfs_stop c
}

fill() { # DIRECTORY
	cp -r "$T/files" "$1/"
	sync "$1/files/one"
	dd if="$T/files/one" of="$1/direct" oflag=direct bs=64K status=none
	dd if="$T/files/one" of="$1/dsync" oflag=dsync bs=100K status=none
	rm "$1/files/3"
	mv "$1/files/4" "$1/files/three"
}

check() { # DIRECTORY
	local i
	cmp "$T/files/one" "$1/files/one" && cmp "$T/files/one" "$1/direct" &&
		cmp "$T/files/one" "$1/dsync" && cmp "$T/files/4" "$1/files/three"
	for i in 1 2 5 6 7 8; do
		cmp "$T/files/$i" "$1/files/$i"
	done
}

blocks() {
	sync "$1"
	stat -c %b "$1"
}

dev= # set by loop_attach
mkdir "$T/mnt" "$T/inner" "$T/files"
track_mount "$T/inner"
head -c 1000000 /dev/urandom >"$T/files/one"
for i in 1 2 3 4 5 6 7 8; do
	head -c $((i * 7777)) /dev/urandom >"$T/files/$i"
done
for mode in $modes; do
	for direct_io in on off; do
		what="cache=$mode, direct-io=$direct_io"
		rm -f "$T/img"
		truncate -s 24M "$T/img"
		start "$T/img" --direct-io=$direct_io
		mkfs.ext4 -q "$dev"
		mount "$dev" "$T/inner"
		fill "$T/inner"
		umount "$T/inner"
		fsck.ext4 -fn "$dev" >"$T/fsck.log" 2>&1 || { cat "$T/fsck.log" && fail "$what: fsck"; }
		stop
		fsck.ext4 -fn "$T/img" >"$T/fsck.log" 2>&1 ||
			{ cat "$T/fsck.log" && fail "$what: fsck of the host file"; }

		start "$T/img" --direct-io=$direct_io
		mount -o ro "$dev" "$T/inner"
		check "$T/inner" || fail "$what: files"
		umount "$T/inner"

		dd if=/dev/urandom of="$dev" bs=1M count=8 conv=fsync status=none
		before=$(blocks "$T/img")
		blkdiscard -o 1M -l 4M "$dev"
		[ $((before - $(blocks "$T/img"))) -ge 8000 ] || fail "$what: no hole was punched"
		blkdiscard -z -o 5M -l 1M "$dev"
		cmp -n 5M -i 1M "$T/mnt/img" /dev/zero || fail "$what: discarded, zeroed"
		stop
		cmp -n 5M -i 1M "$T/img" /dev/zero || fail "$what: discarded, zeroed, on the host"
		expect $((24 << 20)) "$(stat -c %s "$T/img")" "$what: size"
	done
done

mode=directsync
truncate -s 300M "$T/xfs"
start "$T/xfs" --direct-io=on
mkfs.xfs -q "$dev"
mount -o nouuid "$dev" "$T/inner"
fill "$T/inner"
umount "$T/inner"
xfs_repair -n "$dev" >"$T/fsck.log" 2>&1 || { cat "$T/fsck.log" && fail "xfs_repair"; }
stop
start "$T/xfs" --direct-io=off
mount -o nouuid "$dev" "$T/inner"
check "$T/inner"
umount "$T/inner"
stop
