#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Exports in use: fio with verification; a file system on a loop device, made, filled,
# checked, and discarded, which frees the server's space; nbdkit and qemu-nbd, whose
# qcow2 holds at the end what was written through the mount.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/nbd.sh
. "$LIB/nbd.sh"

[ "$(id -u)" = 0 ] || skip "needs root for loop devices"
fio --enghelp 2>/dev/null | grep -qw libaio || skip "fio has no libaio engine"
command -v qemu-nbd >/dev/null || skip "needs qemu-nbd"
mkdir "$T/mnt" "$T/inner"
track_mount "$T/inner"
file=$T/mnt/disk
dev= # set by loop_attach
head -c 3000000 /dev/urandom >"$T/data"

use() { # MODE
	cmfs_start c -o cache="$1" "$(nbd_uri s disk)" "$T/mnt"
	fio --name=a --filename="$file" --size=4M --rw=randwrite --bsrange=512-64k --bs_unaligned \
		--ioengine=psync --verify=crc32c --do_verify=1 --fsync=50 \
		--name=b --filename="$file" --offset=8M --size=4M --rw=randwrite --bs=4k --direct=1 \
		--ioengine=libaio --iodepth=32 --verify=crc32c --do_verify=1 \
		--output="$T/fio.log" >"$T/fio.out" || fail "$1: fio: $(cat "$T/fio.log")"
	loop_attach dev "$file"
	mkfs.ext4 -q "$dev"
	mount "$dev" "$T/inner"
	cp "$T/data" "$T/inner/one"
	dd if="$T/data" of="$T/inner/two" oflag=dsync bs=100k status=none
	umount "$T/inner"
	fsck.ext4 -fn "$dev" >"$T/fsck.log" 2>&1 || fail "$1: $(cat "$T/fsck.log")"
	mount -o ro "$dev" "$T/inner"
	cmp "$T/data" "$T/inner/one" || fail "$1: one"
	cmp "$T/data" "$T/inner/two" || fail "$1: two"
	umount "$T/inner"
	loop_detach "$dev"
	cp "$file" "$T/copy"
	cmfs_stop c
}

for mode in none directsync; do
	rm -f "$T/disk"
	truncate -s 24M "$T/disk"
	nbd_serve s file "$T/disk"
	use $mode
	cmp "$T/copy" "$T/disk" || fail "$mode: the server's file"
	before=$(stat -c %b "$T/disk")
	cmfs_start c -o cache=$mode "$(nbd_uri s disk)" "$T/mnt"
	loop_attach dev "$file"
	blkdiscard -f "$dev"
	loop_detach "$dev"
	cmp -n 24M "$file" /dev/zero || fail "$mode: discarded"
	cmfs_stop c
	[ "$(stat -c %b "$T/disk")" -lt $((before / 10)) ] || fail "$mode: no space was freed"
	nbd_kill s

	qemu-img create -q -f qcow2 "$T/disk.qcow2" 24M
	nbd_serve_qemu s -f qcow2 -x disk --cache=$mode --discard=unmap "$T/disk.qcow2"
	use $mode
	kill "${PID[s]}"
	wait "${PID[s]}"
	unset "PID[s]"
	qemu-img check -q "$T/disk.qcow2"
	qemu-img compare -q -F raw "$T/disk.qcow2" "$T/copy" || fail "$mode: qcow2"
done
