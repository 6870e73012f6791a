#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The device below the host's file system fails for a while, in every mode: its writes,
# its flushes, its reads. It is a loop device on a file of another cmfs, with fault rules
# that are set live. A write or flush that was to make something durable has failed for
# good, also when the device is well again (P5); a read has only failed.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/failed.sh
. "$LIB/failed.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/low" "$T/host" "$T/mnt"
loop=""

device() { # RULES
	setfattr -n user.cmfs.fault -v "$1" "$T/low/disk"
}

hits() {
	getfattr --absolute-names --only-values -n user.cmfs.fault "$T/low/disk" |
		sed 's/.*hits=//'
}

start() {
	rm -f "$T/disk"
	truncate -s 64M "$T/disk"
	# Without a cache, so that the rules see each request of the device.
	cmfs_start low -o cache=none,fault=on "$T/disk" "$T/low"
	loop_attach loop "$T/low/disk"
	mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=0 "$loop"
	mount -o errors=continue "$loop" "$T/host"
	TRACKED_MOUNTS=("$T/host")
	head -c 8M /dev/zero | tr '\0' o >"$T/host/img"
	sync -f "$T/host"
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	ok open 3 "$T/mnt/img" direct
	want 65536 write 1 0 65536 a
	want 0 fsync 1
}

finish() { # STATUS LOW-STATUS
	fileop_stop
	cmfs_stop c "$1"
	unmount "$T/host"
	TRACKED_MOUNTS=()
	loop_detach "$loop"
	cmfs_stop low "$2"
}

for mode in $modes; do
	what="cache=$mode, writes fail"
	start
	device write:EIO
	case $mode in
	writeback)
		want 65536 write 1 1048576 65536 b # into the host's cache
		is_errno "$what" "$(op fsync 1)" EIO
		;;
	none)
		is_errno "$what" "$(op write 1 1048576 65536 b)" EIO
		is_errno "$what" "$(op write 2 1048576 65536 b)" EIO
		;;
	writethrough | directsync)
		is_errno "$what" "$(op write 1 1048576 65536 b)" EIO
		;;
	unsafe)
		want 65536 write 1 1048576 65536 b
		want 0 fsync 1
		sync -f "$T/host" 2>/dev/null || true # the host finds out
		want 0 fsync 1
		;;
	esac
	[ "$(hits)" -gt 0 ] || fail "$what: no write reached the device"
	device off
	if [ "$mode" = unsafe ]; then
		expect none "$(failure)" "$what: user.cmfs.error"
		want EIO cache 1 writeback # and back to a promise: a barrier (P7)
		finish 0 0
	else
		is_failed "$what, and are well again"
		refuses_switches "$what"
		finish 0 0 # in unsafe
	fi

	what="cache=$mode, a flush fails"
	start
	device flush:EIO:once
	case $mode in
	writeback | none)
		want 65536 write 1 1048576 65536 b
		is_errno "$what" "$(op fdatasync 1)" EIO
		;;
	writethrough | directsync)
		is_errno "$what" "$(op write 1 1048576 65536 b)" EIO
		;;
	unsafe)
		want 65536 write 1 1048576 65536 b
		want 0 fsync 1
		expect 0 "$(hits)" "$what: flushes of the device"
		;;
	esac
	if [ "$mode" = unsafe ]; then
		device off
		expect none "$(failure)" "$what: user.cmfs.error"
		finish 0 0
	else
		expect 1 "$(hits)" "$what: hits"
		device off
		is_failed "$what"
		finish 1 1 # the device has failed for good as well: it is an image
	fi

	what="cache=$mode, reads fail"
	start
	case $mode in
	none | directsync) ;;
	*) # not from the host's cache
		sync "$T/host/img"
		dd if="$T/host/img" iflag=nocache count=0 status=none
		;;
	esac
	device read:EIO
	case $mode in
	none | directsync)
		want EIO read 1 4194304 65536
		want EIO read 3 4194304 65536
		;;
	*)
		answer=$(op read 1 4194304 65536)
		is_errno "$what" "${answer%% *}" EIO 65536
		;;
	esac
	device off
	want "65536 o" read 3 4194304 65536
	want "65536 o" read 1 4194304 65536
	want 65536 write 1 4194304 65536 n
	want "65536 n" read 3 4194304 65536
	is_sound "$what"
	finish 0 0
done
