#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Power cuts above a qcow2 image's disk: what was durable survives, and nothing else is
# promised, in each mode and after live switches that start another qemu-nbd below the
# layer. Faults, the write log and an overlay lie above it, too.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/format.sh
. "$LIB/format.sh"

img=$T/mnt/img
mkdir "$T/mnt"

start() { # KEYS
	rm -f "$T/img"
	qemu-img create -q -f qcow2 "$T/img" 4M
	cmfs_start c --drive "file=$T/img,format=qcow2,$1" "$T/mnt"
	fileop_start
	ok open 1 "$img"
}

cut() {
	setfattr -n user.cmfs.powercut -v lose "$img" || fail "cut"
	ok open 2 "$img"
}

cycle() { # MODE: writes with and without durability, then a cut
	ok write 1 0 65536 a
	ok fsync 1
	ok write 1 65536 65536 b dsync
	ok write 1 131072 65536 c
	cut
	case $1 in
	unsafe) want "65536 0" read 2 0 65536 && want "65536 0" read 2 65536 65536 ;;
	*) want "65536 a" read 2 0 65536 && want "65536 b" read 2 65536 65536 ;;
	esac
	case $1 in
	writethrough | directsync) want "65536 c" read 2 131072 65536 ;;
	*) want "65536 0" read 2 131072 65536 ;;
	esac
	want EIO read 1 0 4096
}

for mode in $modes; do
	start "powercut=on,cache=$mode"
	cycle "$mode"
	fileop_stop
	cmfs_stop c
	qemu-img check -q "$T/img"

	start "powercut=on,cache=writeback" # and in the mode by a live switch, and in another one
	ok cache 1 "$mode"
	cycle "$mode"
	ok cache 2 none
	ok write 2 196608 65536 d
	ok cache 2 writeback # a barrier
	ok write 2 262144 65536 e
	setfattr -n user.cmfs.powercut -v lose "$img"
	ok open 3 "$img"
	want "65536 d" read 3 196608 65536
	want "65536 0" read 3 262144 65536
	fileop_stop
	cmfs_stop c
	qemu-img check -q "$T/img"
	qemu-io -r -f qcow2 -c "read -P 100 196608 65536" "$T/img" | grep -q "^read 65536"
done

# A fault rule fails the step that starts another qemu-nbd: the old one goes on. So it does
# when the flush before that step fails, below each layer.
for layer in "log-writes=$T/log" powercut=on snapshot=on; do
	start "fault=on,$layer,cache=writeback"
	ok write 1 0 65536 a
	setfattr -n user.cmfs.fault -v reopen:EIO:once "$img"
	want EIO cache 1 none
	want "65536 a" read 1 0 65536
	ok cache 1 none
	want "65536 a" read 1 0 65536
	setfattr -n user.cmfs.fault -v flush:EIO:once "$img"
	want EIO cache 1 writeback # the flush comes first, and the image has failed (P5)
	nbd=""
	qemu_nbd_of nbd c
	tr '\0' '\n' <"/proc/$nbd/cmdline" | grep -qx -- --cache=none ||
		fail "$layer: the old mode does not hold"
	want EIO fsync 1
	fileop_stop
	cmfs_stop c 1
done

# Above it a throwaway overlay: the commit has it opened for writing, by another qemu-nbd.
for mode in writeback none; do
	start "snapshot=on,cache=$mode"
	ok write 1 0 65536 a
	ok fsync 1
	setfattr -n user.cmfs.commit -v now "$img" || fail "$mode: commit"
	ok write 1 65536 65536 b
	want "65536 a" read 1 0 65536
	ok cache 1 directsync
	want "65536 b" read 1 65536 65536
	fileop_stop
	cmfs_stop c
	qemu-img check -q "$T/img"
	for block in "97 0" "0 65536"; do
		qemu-io -r -f qcow2 -c "read -P $block 65536" "$T/img" | grep -q "^read 65536" ||
			fail "$mode: committed: $block"
	done
done
