#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Power cuts below a qcow2 image: its file lies in another mount, with the power-cut
# layer, and qemu-nbd writes there. After each cut the image is a whole qcow2, and what
# was durable on the guest's disk is there: QEMU's metadata went out before what hangs on
# it, as our flushes and FUA reached it.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/format.sh
. "$LIB/format.sh"

disk=$T/disk/img.qcow2 guest=$T/guest/img.qcow2
mkdir "$T/disk" "$T/guest"
lost=0

guest_start() { # KEYS
	cmfs_start guest --drive "file=$disk,format=qcow2,$1" "$T/guest"
	fileop_start
	ok open 1 "$guest"
}

# Then the file is dead for qemu-nbd. Whether anything was still due, and so lost, is up
# to the mode.
guest_cut() { # KIND
	local status=0
	setfattr -n user.cmfs.powercut -v "$1" "$T/disk" || fail "cut $1"
	fileop_stop
	umount "$T/guest"
	wait "${PID[guest]}" || status=$?
	unset "PID[guest]"
	[ "$status" -le 1 ] || fail "$mode, $1: status $status"
	# Clusters that nothing refers to are allowed (status 3), and nothing else.
	qemu-img check "$disk" >"$T/check" 2>&1 || [ $? = 3 ] || fail "$mode, $1: $(cat "$T/check")"
}

# In unsafe nothing is promised, not even a whole qcow2.
for mode in writeback none writethrough directsync; do
	for kind in lose random:1 random:2 torn:3; do
		rm -f "$T/img.qcow2"
		qemu-img create -q -f qcow2 "$T/img.qcow2" 64M
		cmfs_start disk -o powercut=on,cache=writeback "$T/img.qcow2" "$T/disk"
		guest_start "cache=$mode"
		# Clusters of their own, so that each takes new metadata.
		for i in 0 1 2 3 4 5 6 7; do
			ok write 1 $((i * 2097152)) 65536 a
		done
		ok fsync 1
		for i in 0 1 2 3; do
			ok write 1 $((i * 2097152 + 65536)) 65536 b dsync
		done
		for i in 4 5 6 7; do
			ok write 1 $((i * 2097152 + 65536)) 65536 c
		done
		guest_cut "$kind"
		guest_start "cache=$mode"
		for i in 0 1 2 3 4 5 6 7; do
			want "65536 a" read 1 $((i * 2097152)) 65536
		done
		for i in 0 1 2 3; do
			want "65536 b" read 1 $((i * 2097152 + 65536)) 65536
		done
		for i in 4 5 6 7; do
			case $mode in
			writethrough | directsync) want "65536 c" read 1 $((i * 2097152 + 65536)) 65536 ;;
			*) [ "$(op read 1 $((i * 2097152 + 65536)) 65536)" = "65536 c" ] || lost=$((lost + 1)) ;;
			esac
		done
		fileop_stop
		cmfs_stop guest
		cmfs_stop disk
	done
done
[ "$lost" -gt 0 ] || fail "no cut has lost anything that was not durable: there were none"
