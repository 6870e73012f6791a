#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A host file system without space, in every mode. A write, an allocation, a copy that
# finds no room is refused and no more; but one that was to be durable makes the image
# fail (P5): for good, when there is room again too. What was acknowledged before is
# there (P9), and an image that is mounted anew is sound.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/failed.sh
. "$LIB/failed.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/host" "$T/mnt"
truncate -s 24M "$T/disk"
loop=""
loop_attach loop "$T/disk"

make_host() { # TYPE
	case $1 in
	ext4) mkfs.ext4 -q -F -m 0 "$loop" ;;
	tmpfs) ;;
	esac
	case $1 in
	tmpfs) mount -t tmpfs -o size=24m none "$T/host" ;;
	*) mount "$loop" "$T/host" ;;
	esac
	TRACKED_MOUNTS=("$T/host")
}

fill_host() {
	dd if=/dev/zero of="$T/host/ballast" bs=64k status=none 2>/dev/null || true
	dd if=/dev/zero of="$T/host/crumbs" bs=1k status=none 2>/dev/null || true
	sync -f "$T/host"
	dd if=/dev/zero of="$T/host/crumbs2" bs=1k status=none 2>/dev/null || true
}

start() {
	rm -rf "$T"/host/*
	truncate -s 8M "$T/host/img"
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	want 65536 write 1 0 65536 a
	want 0 fsync 1
	fill_host
}

finish() { # STATUS
	fileop_stop
	cmfs_stop c "$1"
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	want "8192 a" read 1 32768 8192
	is_sound "$what: mounted anew"
	fileop_stop
	cmfs_stop c
}

for type in ext4 tmpfs; do
	make_host $type
	for mode in $modes; do
		what="$type, cache=$mode"
		if ! start; then
			continue
		fi
		# Without a promise: refused.
		want ENOSPC fallocate 1 alloc 4194304 1048576
		want 0 fallocate 1 punch 1048576 4096
		case $mode in
		writethrough | directsync)
			is_sound "$what: a refused allocation"
			want ENOSPC write 1 4194304 1048576 b
			is_failed "$what"
			refuses_switches "$what"
			rm "$T/host/ballast"
			ok cache 1 unsafe
			want 1048576 write 1 4194304 1048576 b # claims nothing
			want EIO cache 1 "$mode"
			want "8192 a" read 1 32768 8192
			finish 0 # in unsafe nothing is flushed
			;;
		*)
			want ENOSPC write 1 4194304 1048576 b
			want ENOSPC copy 1 0 1 5242880 65536
			want "8192 a" read 1 32768 8192
			[ "$mode" = unsafe ] || want 0 fsync 1
			is_sound "$what: a refused write"
			rm "$T/host/ballast"
			want 1048576 write 1 4194304 1048576 b
			want 65536 copy 1 0 1 5242880 65536
			is_sound "$what: there is room again"
			[ "$mode" != unsafe ] || want 65536 write 1 0 65536 a
			finish 0
			;;
		esac
		[ "$mode" != writeback ] || [ "$passthrough" != off ] || {
			# One that asked for it by itself, on the daemon's way.
			start
			want ENOSPC write 2 4194304 1048576 b
			is_failed "$what, O_DSYNC"
			rm "$T/host/ballast"
			is_failed "$what, O_DSYNC, there is room again"
			finish 1
		}
	done
	unmount "$T/host"
	TRACKED_MOUNTS=()
done

# A page that a mapping dirtied was acknowledged long before it finds no room.
if [ "$passthrough" = off ]; then
	make_host ext4
	for mode in writeback writethrough; do
		what="a mapping, cache=$mode"
		start
		ok mmap 1 6291456 65536
		ok poke 1 0 65536 m
		answer=$(op msync 1)
		is_errno "$what: msync" "$answer" EIO ENOSPC
		# The kernel tells each handle once of a page that it could not write.
		is_errno "$what: fdatasync" "$(op fdatasync 2)" EIO ENOSPC
		rm "$T/host/ballast"
		is_failed "$what"
		finish 1
	done
fi
