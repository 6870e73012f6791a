#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The device under the host's file system is gone, in every mode: a loop device on a
# file of another cmfs, which is killed (losetup -d waits until nobody uses the device;
# scsi_debug and dm-flakey are not everywhere). Nothing hangs; flushes fail and stay so
# (P5); in unsafe nothing fails but what the host must do at once (P3); the daemon ends
# (P12). What was flushed before is found when the device is back (P2, P1).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/failed.sh
. "$LIB/failed.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/low" "$T/host" "$T/mnt"
loop=""

attach() {
	cmfs_start low -o passthrough=off "$T/disk" "$T/low"
	loop_attach loop "$T/low/disk"
}

# Nothing there answers any more: whatever comes fails at once.
detach() {
	unmount "$T/host" 2>/dev/null || umount -l "$T/host"
	loop_detach "$loop"
	umount -l "$T/low" 2>/dev/null || true
}

for mode in $modes; do
	what="cache=$mode"
	rm -f "$T/disk"
	truncate -s 64M "$T/disk"
	attach
	mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=0 "$loop"
	mount -o errors=continue "$loop" "$T/host"
	TRACKED_MOUNTS=("$T/host")
	head -c 8M /dev/zero >"$T/host/img"
	sync -f "$T/host"

	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	want 65536 write 1 0 65536 a
	want 0 fsync 1
	want 65536 write 1 1048576 65536 b
	[ "$mode" != unsafe ] || sync "$T/host/img"

	kill -KILL "${PID[low]}"
	wait "${PID[low]}" 2>/dev/null || true
	unset "PID[low]"
	rm "$T/low.pid"
	case $mode in
	writeback)
		want 65536 write 1 2097152 65536 c # into the host's cache
		answer=$(op fsync 1)
		is_errno "$what: fsync" "$answer" EIO
		;;
	none)
		answer=$(op write 1 2097152 65536 c)
		is_errno "$what: write" "$answer" EIO
		answer=$(op fsync 1)
		is_errno "$what: fsync" "$answer" EIO
		;;
	writethrough | directsync)
		answer=$(op write 1 2097152 65536 c)
		is_errno "$what: write" "$answer" EIO
		;;
	unsafe)
		want 65536 write 1 2097152 65536 c
		want 0 fsync 1
		want 0 fdatasync 2
		;;
	esac
	if [ "$mode" = unsafe ]; then
		expect none "$(failure)" "$what: user.cmfs.error"
		want EIO cache 1 writeback
	else
		is_failed "$what"
		case $mode in writethrough | directsync) want EIO truncate 1 4194304 ;; esac
	fi
	fileop_stop
	umount "$T/mnt"
	cmfs_wait c "$([ "$mode" = unsafe ] && echo 0 || echo 1)"
	detach

	attach
	TRACKED_MOUNTS=()
	fsck.ext4 -fy "$loop" >"$T/fsck.log" 2>&1 || true
	mount "$loop" "$T/host"
	TRACKED_MOUNTS=("$T/host")
	expect a "$(head -c 64K "$T/host/img" | tr -s a)" "$what: what was flushed"
	case $mode in
	writethrough | directsync | unsafe)
		expect b "$(dd if="$T/host/img" bs=64K skip=16 count=1 status=none | tr -s b)" \
			"$what: what was durable"
		;;
	esac
	unmount "$T/host"
	loop_detach "$loop"
	cmfs_stop low
done
