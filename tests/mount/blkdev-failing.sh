#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A block device that fails for a while, in every mode: as fault-device.sh has it for what
# is below a file system. It is a loop device on a file of another cmfs, with fault rules
# that are set live. What was to be durable and is not has failed for good (P5).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/failed.sh
. "$LIB/failed.sh"
# shellcheck source=../lib/blkdev.sh
. "$LIB/blkdev.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/low" "$T/mnt"
disk=$T/low/disk
truncate -s 16M "$T/disk"

device() { # RULES
	setfattr -n user.cmfs.fault -v "$1" "$disk"
}

start() {
	cmfs_start low -o cache=none,fault=on "$T/disk" "$T/low"
	blkdev_make 16M
	cmfs_start c -o cache="$mode" "$T/dev/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	want 1048576 write 1 0 1048576 a
	want 0 fsync 1
}

finish() { # STATUS LOW-STATUS
	fileop_stop
	cmfs_stop c "$1"
	loop_detach "$blkdev"
	rm "$T/dev/img"
	cmfs_stop low "$2"
}

for mode in $modes; do
	what="cache=$mode, writes fail"
	start
	device write:EIO
	case $mode in
	writeback)
		want 65536 write 1 65536 65536 b # into the host's cache
		is_errno "$what" "$(op fsync 1)" EIO
		;;
	unsafe)
		want 65536 write 1 65536 65536 b
		want 0 fsync 1
		;;
	none)
		is_errno "$what" "$(op write 1 65536 65536 b)" EIO
		is_errno "$what" "$(op write 2 65536 65536 b)" EIO
		;;
	*) is_errno "$what" "$(op write 1 65536 65536 b)" EIO ;;
	esac
	device off
	if [ "$mode" = unsafe ]; then
		expect none "$(failure)" "$what: user.cmfs.error"
	else
		is_failed "$what"
		refuses_switches "$what"
	fi
	finish 0 0

	[ "$mode" != unsafe ] || continue # asks for no flush
	what="cache=$mode, a flush fails"
	start
	device flush:EIO:once
	case $mode in
	writeback | none)
		want 65536 write 1 65536 65536 b
		is_errno "$what" "$(op fdatasync 1)" EIO
		;;
	*) is_errno "$what" "$(op write 1 65536 65536 b)" EIO ;;
	esac
	device off
	is_failed "$what"
	finish 1 1 # the device has failed for good as well: it is an image
done

mode=none what="reads fail, and discards"
start
device read:EIO+punch:EIO+zero:EIO
want EIO read 1 65536 4096
want EIO fallocate 1 punch 65536 65536
device off
want "65536 a" read 1 65536 65536
is_sound "$what"
want 0 fallocate 1 punch 65536 65536
want "65536 0" read 1 65536 65536
finish 0 0
