#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The host's file system gives up while an image is mounted, in every mode: ext4 that
# was aborted and so is read-only, ext4 and XFS that were shut down (as they do when
# they find themselves damaged or their device gone). Writes and flushes fail, flushes
# for good (P5), nothing hangs, and the daemon ends with 1 if it promised anything (P12).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/failed.sh
. "$LIB/failed.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
command -v xfs_io >/dev/null || skip "needs xfs_io"
mkdir "$T/host" "$T/mnt"

give_up() { # HOW
	case $1 in
	abort) mount -o remount,abort "$T/host" 2>/dev/null || true ;;
	shutdown) xfs_io -x -c shutdown "$T/host" ;;
	esac
}

# The kernel may still hold on to the file that it served, and so to the file system as
# it was: that is then mounted once more, and not a new one.
mount_anew() {
	local i
	for ((i = 0; i < 100; i++)); do
		mount "$loop" "$T/host"
		TRACKED_MOUNTS=("$T/host")
		! head -c 1 "$T/host/img" >/dev/null 2>&1 || return 0
		unmount "$T/host"
		TRACKED_MOUNTS=()
		sleep 0.1
	done
	fail "$what: the file system stays as it was"
}

for how in "ext4 abort" "ext4 shutdown" "xfs shutdown"; do
	type=${how% *}
	grep -qw "$type" /proc/filesystems || continue
	for mode in $modes; do
		what="$how, cache=$mode"
		rm -f "$T/disk"
		truncate -s 320M "$T/disk"
		loop=""
		loop_attach loop "$T/disk"
		"mkfs.$type" -q "$loop"
		mount "$loop" "$T/host"
		TRACKED_MOUNTS=("$T/host")
		head -c 8M /dev/zero >"$T/host/img"
		sync -f "$T/host"

		cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
		fileop_start
		ok open 1 "$T/mnt/img"
		ok open 2 "$T/mnt/img" dsync
		want 65536 write 1 0 65536 a
		want 0 fsync 1

		give_up "${how#* }"
		answer=$(op write 1 1048576 65536 b)
		echo "$what: write: $answer"
		case $answer in 65536) ;; *) is_errno "$what: write" "$answer" EIO EROFS ;; esac
		answer=$(op fsync 1)
		echo "$what: fsync: $answer"
		if [ "$mode" = unsafe ]; then
			expect 0 "$answer" "$what: fsync"
			want 0 fdatasync 2
			expect 0 "$(failure_count)" "$what: failures in the log"
		else
			is_errno "$what: fsync" "$answer" EIO EROFS
			is_failed "$what"
		fi
		fileop_stop
		umount "$T/mnt"
		cmfs_wait c "$([ "$mode" = unsafe ] && echo 0 || echo 1)"
		unmount "$T/host"
		TRACKED_MOUNTS=()
		mount_anew
		[ "$mode" = unsafe ] || # P2, P1: what was flushed before is there
			expect a "$(head -c 64K "$T/host/img" | tr -s a)" "$what: what was flushed"
		unmount "$T/host"
		TRACKED_MOUNTS=()
		loop_detach "$loop"
	done
done
