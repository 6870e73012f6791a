#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The host kernel tells a descriptor once of a write that failed in the background,
# and whatever call asks first takes it away. None of ours may, but a flush: not
# what writes out an edge in a direct mode, not a copy in a sync mode, not a switch
# to unsafe and back (P2, P5, P7).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/small" "$T/host" "$T/mnt"

# A fresh disk on a sparse file on a tmpfs that then is full: what has no block there
# cannot be written. In MODE the image has 64 KiB; handles 1 and (O_DSYNC) 2.
begin() {
	mode=$1
	mount -t tmpfs -o size=24m none "$T/small"
	TRACKED_MOUNTS+=("$T/small")
	truncate -s 64M "$T/small/disk"
	loop=""
	loop_attach loop "$T/small/disk"
	mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=0 "$loop"
	mount "$loop" "$T/host"
	TRACKED_MOUNTS+=("$T/host")
	head -c 65536 /dev/urandom >"$T/host/img"
	sync "$T/host/img"
	sync -f "$T/host"
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	dd if=/dev/zero of="$T/small/ballast" bs=64k status=none 2>/dev/null || true
}

fails() { # WHAT COMMAND...: it must not claim success
	local what=$1 answer
	shift
	answer=$(op "$@")
	echo "$mode, $what: $answer"
	case $answer in E*) ;; *) fail "$mode, $what: reported as durable ($answer)" ;; esac
}

finish() {
	fileop_stop
	cmfs_stop c 1
	umount "$T/host"
	loop_detach "$loop"
	umount "$T/small"
	TRACKED_MOUNTS=()
}

# An edge of a direct mode goes through the page cache and is written out at once.
begin none
answer=$(op write 1 8388613 100 a)
echo "none, write of an edge: $answer"
fails "the next fsync" fsync 1
fails "the one after" fsync 1
finish

# A copy in a sync mode.
for m in writethrough directsync; do
	begin $m
	answer=$(op copy 1 0 1 8388608 65536)
	echo "$m, copy_file_range: $answer"
	fails "fsync after a copy" fsync 1
	fails "write after a copy" write 1 0 4096 b
	finish
done

# Somebody else has seen the error meanwhile; the mode goes to unsafe and back.
begin writeback
want 4096 write 1 8388608 4096 c
sync "$T/host/img" 2>/dev/null && fail "the disk did not fail"
ok cache 1 unsafe
fails "back from unsafe" cache 1 writeback
want 0 fsync 1 # it stays unsafe: nothing is claimed
fileop_stop
cmfs_stop c 0
