#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Layers lie on a block device as on a file: what a power cut takes and leaves (P1, P2),
# faults, and the write log; and a file system lives on a device in the mount.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/blkdev.sh
. "$LIB/blkdev.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/mnt" "$T/fs"
img=$T/mnt/img
loop=""
disk=$T/dev/disk
blkdev_make 16M

for mode in $modes; do
	what="cache=$mode, power cut"
	head -c 1M /dev/zero | tr '\0' o | dd of="$blkdev" bs=1M conv=fsync status=none
	cmfs_start c -o "powercut=on,cache=$mode" "$T/dev/img" "$T/mnt"
	fileop_start
	ok open 1 "$img"
	want 65536 write 1 0 65536 a
	want 0 fsync 1
	want 65536 write 1 65536 65536 b
	want ENOSPC write 1 16777216 10 z
	want EINVAL truncate 1 4096
	want 0 fallocate 1 punch 131072 65536
	want "65536 b" read 1 65536 65536
	want "65536 0" read 1 131072 65536
	setfattr -n user.cmfs.powercut -v lose "$img"
	fileop_stop
	fileop_start
	ok open 1 "$img"
	case $mode in
	writethrough | directsync) wanted="a b 0" ;;
	unsafe) wanted="o o o" ;;
	*) wanted="a o o" ;;
	esac
	# shellcheck disable=SC2086 # words
	set -- $wanted
	want "65536 $1" read 1 0 65536
	want "65536 $2" read 1 65536 65536
	want "65536 $3" read 1 131072 65536
	expect 16777216 "$(stat -c %s "$img")" "$what: size"
	fileop_stop
	cmfs_stop c
done

what="log-writes"
cmfs_start c -o "log-writes=$T/log,fault=write:EIO:range=1M-2M,cache=directsync" "$T/dev/img" "$T/mnt"
dd if=/dev/zero of="$img" bs=4096 count=4 status=none
! dd if=/dev/zero of="$img" bs=4096 count=1 seek=256 conv=notrunc status=none 2>/dev/null ||
	fail "fault: no error"
cmfs_stop c 1
[ "$(stat -c %s "$T/log")" -gt 16384 ] || fail "$what: the log has $(stat -c %s "$T/log") bytes"

for mode in none writethrough; do
	what="cache=$mode, ext4"
	cmfs_start c -o cache="$mode" "$T/dev/img" "$T/mnt"
	mkfs.ext4 -q -F "$img"
	loop_attach loop "$img"
	mount "$loop" "$T/fs"
	track_mount "$T/fs"
	head -c 5M /dev/urandom >"$T/fs/data"
	sum=$(md5sum <"$T/fs/data")
	fstrim "$T/fs"
	umount "$T/fs"
	loop_detach "$loop"
	e2fsck -f -n "$img" >/dev/null 2>&1 || fail "$what: e2fsck"
	cmfs_stop c
	mount "$blkdev" "$T/fs"
	expect "$sum" "$(md5sum <"$T/fs/data")" "$what: on the device"
	umount "$T/fs"
done
