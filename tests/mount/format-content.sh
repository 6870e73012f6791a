#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk in an image of another format: as qemu-img converts it, byte for byte, also
# after writes through the mount, and qemu-img finds nothing wrong with the image then.
# Its size does not change, its owner, times and attributes are the file's.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/format.sh
. "$LIB/format.sh"

loop=""
mkdir "$T/mnt"
head -c 3M /dev/urandom >"$T/source"
truncate -s 8M "$T/source" # with a hole
dd if=/dev/urandom of="$T/source" bs=64k count=3 seek=100 conv=notrunc status=none

# The same changes to the mounted disk and to its raw counterpart.
change() { # FILE
	fileop_start
	ok open 1 "$1"
	ok write 1 0 512 a
	ok write 1 1000 70001 b   # unaligned
	ok write 1 5242880 4096 c # where nothing was
	ok write 1 8388000 608 d  # up to the end
	ok fallocate 1 punch 2097152 131072
	ok fallocate 1 zero 65000 3000
	ok fsync 1
	fileop_stop
}

# What is given as format=, whether qemu-img can check it, its format, and how it is made.
run() { # GIVEN CHECKED FORMAT OPTION...
	local format=$1 checked=$2 raw=$T/raw size
	shift 2
	qemu-img convert -f raw -O "$@" "$T/source" "$T/disk"
	qemu-img convert -f "$1" -O raw "$T/disk" "$raw"
	chmod 640 "$T/disk"
	cmfs_start c --drive "file=$T/disk,format=$format" "$T/mnt"
	size=$(stat -c %s "$raw")
	expect "$size 640" "$(stat -c '%s %a' "$T/mnt/disk")" "$*: size and mode"
	qemu-img compare -q -f raw -F raw "$T/mnt/disk" "$raw" || fail "$*: another content"
	cmp "$T/mnt/disk" "$raw" || fail "$*: another content"
	change "$T/mnt/disk"
	change "$raw"
	cmp "$T/mnt/disk" "$raw" || fail "$*: after writing"
	cmfs_stop c
	[ "$checked" = no ] || qemu-img check -q -f "$1" "$T/disk" || fail "$*: qemu-img check"
	qemu-img compare -q -f "$1" -F raw "$T/disk" "$raw" || fail "$*: after the unmount"
	rm "$T"/disk* "$raw"
}

run qcow2 yes qcow2
run auto yes qcow2 -o compat=0.10,lazy_refcounts=off
run qcow2 yes qcow2 -o lazy_refcounts=on,cluster_size=4k
run auto yes qcow2 -c
run auto yes qed
run auto yes vdi
run vmdk yes vmdk
run auto no vmdk -o subformat=monolithicFlat
run auto yes vhdx
run auto no vpc
run vpc no vpc -o subformat=fixed,force_size
run auto yes parallels
run auto no raw

# A backing file beside the image, named as seen from there, by a path seen from here.
mkdir "$T/a" "$T/b"
qemu-img convert -f raw -O qcow2 "$T/source" "$T/b/base"
cp "$T/b/base" "$T/base"
qemu-img create -q -f qcow2 -b ../b/base -F qcow2 "$T/a/over,lay"
cd "$T/a"
cmfs_start c --drive file=over,,lay,format=qcow2,name=disk "$T/mnt"
cd "$T"
cmp "$T/mnt/disk" "$T/source" || fail "an overlay"
cp "$T/source" "$T/raw"
change "$T/mnt/disk"
change "$T/raw"
setfattr -n user.cmfs.cache -v none "$T/mnt/disk" # started anew, from the daemon's folder
cmp "$T/mnt/disk" "$T/raw" || fail "an overlay after writing"
cmfs_stop c
qemu-img compare -q -f qcow2 -F raw "$T/a/over,lay" "$T/raw" || fail "an overlay, unmounted"
cmp "$T/b/base" "$T/base" || fail "the backing file has changed"

# As a device's: no growth. What the mode is called stays with the file.
qemu-img create -q -f qcow2 "$T/disk" 1M
touch -d 2001-01-01 "$T/disk"
cmfs_start c --drive "file=$T/disk,format=qcow2,persist=on" "$T/mnt"
expect 978307200 "$(stat -c %Y "$T/mnt/disk")" "time of the last change"
fileop_start
ok open 1 "$T/mnt/disk"
want EINVAL truncate 1 2097152
want ENOSPC write 1 1048576 512 x
ok truncate 1 1048576
ok cache 1 none
chmod 600 "$T/mnt/disk"
expect 600 "$(stat -c %a "$T/disk")" "the file's mode"
fileop_stop
cmfs_stop c
cmfs_start c --drive "file=$T/disk,format=qcow2" "$T/mnt"
expect none "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/disk")"
cmfs_stop c
qemu-img check -q -f qcow2 "$T/disk"

# Read-only: the file is not written to at all, though others may read it meanwhile.
chmod 400 "$T/disk"
before=$(sha256sum <"$T/disk")
cmfs_start c --drive "file=$T/disk,format=qcow2,readonly=on" "$T/mnt"
qemu-img info "$T/disk" >/dev/null
fileop_start
ok open 1 "$T/mnt/disk" rdonly
want "1048576 0" read 1 0 1048576
fileop_stop
! dd if=/dev/zero of="$T/mnt/disk" count=1 conv=notrunc status=none 2>"$T/err" ||
	fail "wrote to a read-only image"
setfattr -n user.cmfs.cache -v none "$T/mnt/disk"
cmp -n 1048576 "$T/mnt/disk" /dev/zero || fail "a read-only image in another mode"
cmfs_stop c
expect "$before" "$(sha256sum <"$T/disk")" "a read-only image's content"

# In a block device, as LVs have them; its own size is larger.
if [ "$(id -u)" = 0 ]; then
	qemu-img convert -f raw -O qcow2 "$T/source" "$T/device"
	truncate -s 16M "$T/device"
	loop_attach loop "$T/device"
	cmfs_start c --drive "file=$loop,format=auto,name=disk" "$T/mnt"
	cp "$T/source" "$T/raw"
	change "$T/mnt/disk"
	change "$T/raw"
	setfattr -n user.cmfs.cache -v directsync "$T/mnt/disk"
	cmp "$T/mnt/disk" "$T/raw" || fail "a block device"
	cmfs_stop c
	loop_detach "$loop"
	qemu-img check -q -f qcow2 "$T/device"
	qemu-img compare -q -f qcow2 -F raw "$T/device" "$T/raw" || fail "a block device, unmounted"
fi
