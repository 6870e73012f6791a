#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A block device that somebody else has is refused with a line that says who and what
# would work, and while cmfs writes to one nobody else gets it, through live switches too
# (P8, P10). A reader that is told so shares it. What cannot be an image is refused.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/blkdev.sh
. "$LIB/blkdev.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/mnt" "$T/mnt2" "$T/fs"

refused() { # TEXT ARG...
	local text=$1 status=0
	shift
	timeout 20 "$CMFS" "$@" >"$T/out" 2>"$T/error" || status=$?
	expect 1 "$status" "status of cmfs $*"
	expect 1 "$(wc -l <"$T/error")" "lines of cmfs $*: $(cat "$T/error")"
	grep -qF "$text" "$T/error" || fail "cmfs $*: wanted '$text', got: $(cat "$T/error")"
	! mounted "$T/mnt2" || fail "cmfs $*: mounted"
}


taken() { # WHAT
	! mkfs.ext4 -q -F "$blkdev" 2>"$T/error" || fail "$1: mkfs"
	! mount "$blkdev" "$T/fs" 2>"$T/error" || fail "$1: mount"
	refused "$T/dev/img: is " "$T/dev/img" "$T/mnt2"
}

blkdev_make 32M
mkfs.ext4 -q -L marked "$blkdev"

mount "$blkdev" "$T/fs"
track_mount "$T/fs"
refused "$blkdev: is mounted on $T/fs: unmount it there, or mount it here read-only (-o ro)" \
	"$blkdev" "$T/mnt2"
for mode in $modes; do
	refused "is mounted on $T/fs" -o cache="$mode" "$T/dev/img" "$T/mnt2"
done
cmfs_start c -o ro,cache=none "$T/dev/img" "$T/mnt"
expect marked "$(e2label "$T/mnt/img")" "what a reader of a mounted device sees"
! echo x 2>/dev/null >"$T/mnt/img" || fail "a reader has written"
cmfs_stop c
umount "$T/fs"

cmfs_start c "$T/dev/img" "$T/mnt"
fileop_start
ok open 1 "$T/mnt/img"
taken "mounted"
for mode in none directsync writethrough unsafe writeback; do
	ok cache 1 $mode
	taken "switched to $mode"
done
refused "$T/dev/img: is in use: another process holds the \"write\" lock" \
	-o ro "$T/dev/img" "$T/mnt2"
cmfs_start reader -o ro,locking=off "$T/dev/img" "$T/mnt2"
cmfs_stop reader
fileop_stop
cmfs_stop c
mount "$blkdev" "$T/fs" || fail "not to be had after the end"
umount "$T/fs"

# Two names of one device.
refused "$blkdev: is in use" "$T/dev/img" "$blkdev" "$T/mnt2"

# For the disk in it, qemu-nbd opens the device, which knows of no claims.
cmfs_start c "$T/dev/img" "$T/mnt"
refused "$T/dev/img: is mounted on $T/mnt: unmount it there" -o format=qcow2,locking=off "$T/dev/img" "$T/mnt2"
cmfs_stop c

# P11: a killed one leaves nothing behind.
cmfs_start c "$T/dev/img" "$T/mnt"
kill -KILL "${PID[c]}"
cmfs_wait c 137
rm "$T/c.pid"
umount "$T/mnt"
cmfs_start c "$T/dev/img" "$T/mnt"
cmfs_stop c

for o in passthrough=on syncflag=on; do
	[ "$passthrough" != off ] || continue
	refused "$o: what it shows is no regular file of the host" -o "$o" "$T/dev/img" "$T/mnt2"
done

# The kernel's write cache would acknowledge what is past the end: there is none.
cmfs_start c -o fixed-mode,passthrough=off "$T/dev/img" "$T/mnt"
expect "" "$(grep 'write cache' "$T/c.log" || true)" "fixed-mode"
fileop_start
ok open 1 "$T/mnt/img"
want ENOSPC write 1 33554432 1 z
fileop_stop
cmfs_stop c
blkdev_remove

blkdev_make 1M -r
refused "$T/dev/img: cannot open for writing: the device is write-protected (-o ro" \
	"$T/dev/img" "$T/mnt2"
cmfs_start c -o ro "$T/dev/img" "$T/mnt"
cmp "$T/disk" "$T/mnt/img" || fail "a write-protected device"
cmfs_stop c
loop_detach "$blkdev"
refused "$T/dev/img: is a device of no size" "$T/dev/img" "$T/mnt2"
mknod "$T/dev/none" b 511 77
refused "$T/dev/none: cannot open: No such device" "$T/dev/none" "$T/mnt2"
rm "$T/dev/img"

# A partition is an image like others, and the disk is then in use.
rm "$T/disk"
truncate -s 8M "$T/disk"
# One entry of an MBR: type 0x83, from sector 2048, 4096 of them; and its signature.
printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\020\0\0' |
	dd of="$T/disk" bs=1 seek=446 conv=notrunc status=none
printf '\125\252' | dd of="$T/disk" bs=1 seek=510 conv=notrunc status=none
blkdev_make 8M -P
part=/sys/class/block/${blkdev#/dev/}p1/dev
if [ ! -e "$part" ]; then
	echo "this kernel finds no partition on a loop device"
	exit 0
fi
IFS=: read -r major minor <"$part"
mknod "$T/dev/part" b "$major" "$minor"
cmfs_start c -o cache=directsync "$T/dev/part" "$T/mnt"
expect 2097152 "$(stat -c %s "$T/mnt/part")" "size of a partition"
printf partition | dd of="$T/mnt/part" status=none
expect partition "$(dd if="$T/disk" bs=1 skip=1048576 count=9 status=none)" "its bytes"
refused "$T/dev/img: is in use" "$T/dev/img" "$T/mnt2"
cmfs_stop c
