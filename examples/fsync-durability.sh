#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a mode makes of writes with and without fsync, seen from the device. For
# each mode: an ext4 on a loop device, an image in it, the image mounted by cmfs;
# then 10 records are written without a flush and 10 with one each (dd
# conv=fsync). Shown are
#
#   flushes      that reached the device: field 16 of /sys/class/block/DEV/stat
#   on device    the records that are in a copy of the device taken at that
#                moment, as after a power cut of the host with a device that has
#                no volatile cache; without a flush a real device may lose them
#   after kill   the records that are there after SIGKILL of the daemon and a
#                new mount (P11)
#
# The end status is not 0 if a mode breaks its promise. Needs root.
#
# usage: examples/fsync-durability.sh [-h] [MODE...]      (default: all five)
#   CMFS=PATH    the cmfs to use (default: build/fuse/cmfs, or the one in PATH)
#   TMPDIR=PATH  where to work (default: /var/tmp)
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

case "${1:-}" in
-h | --help) usage 0 ;;
-*) usage 2 >&2 ;;
esac
find_cmfs
need_root
need losetup mkfs.ext4 e2fsck debugfs
work_folder
COUNT=10

flushes() {
	awk '{ print $16 }' "/sys/class/block/${loop#/dev/}/stat"
}

# Records FIRST.. of COUNT, each in a block of its own, written by its own dd.
write_records() { # FIRST [DD-OPTION...]
	local first=$1 i
	shift
	for ((i = first; i < first + COUNT; i++)); do
		printf 'record %02d\n' "$i" |
			dd of=mnt/records.img bs=4096 seek="$i" conv=notrunc "$@" status=none
	done
}

count_records() { # FILE
	grep -a -c '^record ' < <(tr '\0' '\n' <"$1") || true
}

# The image as it is on the device right now, whatever the host has in memory.
count_on_device() {
	cp --sparse=always device.raw cut.raw
	e2fsck -p cut.raw >/dev/null || [ $? = 1 ] # replays the journal
	debugfs -R 'dump /records.img cut.img' cut.raw 2>/dev/null
	count_records cut.img
	rm cut.raw cut.img
}

make_device() {
	truncate -s 64M device.raw
	loop=$(losetup --show -f device.raw)
	defer detach "$loop"
	mkfs.ext4 -q "$loop"
	defer unmount "$PWD/fs"
	mount -o noatime,commit=300 "$loop" fs # no flushes of its own meanwhile
	dd if=/dev/zero of=fs/records.img bs=1M count=1 conv=fsync status=none
	sync -f fs
}

remove_device() {
	release fs
	detach "$loop"
	done_with 2
	rm device.raw
}

try() { # MODE
	local before
	make_device
	defer wait_gone "$PWD/cmfs.pid"
	defer unmount "$PWD/mnt"
	cmfs -o cache="$1" -P cmfs.pid fs/records.img mnt

	before=$(flushes)
	write_records 0
	f1=$(($(flushes) - before))
	d1=$(count_on_device)

	before=$(flushes)
	write_records $COUNT conv=fsync
	f2=$(($(flushes) - before))
	d2=$(count_on_device)

	# The dead mount need not be cleared away by hand. (For up to a second the
	# kernel still answers for it from what it has cached.)
	kill -KILL "$(cat cmfs.pid)"
	while [ -d mnt ]; do sleep 0.05; done
	cmfs -o cache="$1" -P cmfs.pid fs/records.img mnt
	k=$(count_records mnt/records.img)
	release mnt
	wait_gone cmfs.pid
	done_with 2
	remove_device
}

expect() { # PROMISE CONDITION...
	[ "${@:2}" ] && return
	echo "$mode: BROKEN PROMISE: $1" >&2
	status=1
}

mkdir fs mnt
status=0
[ $# -gt 0 ] || set -- writeback none writethrough directsync unsafe
printf '%-14s| %-20s| %-20s| %s\n' '' "$COUNT writes" "$COUNT writes + fsync" 'after kill'
printf '%-14s| %-8s %-11s| %-8s %-11s|\n' mode flushes 'on device' flushes 'on device'
for mode; do
	try "$mode"
	printf '%-14s| %-8s %-11s| %-8s %-11s| %s\n' "$mode" "$f1" "$d1 of $COUNT" \
		"$f2" "$d2 of $((2 * COUNT))" "$k of $((2 * COUNT))"
	expect "SIGKILL lost records (P11)" "$k" = $((2 * COUNT))
	case "$mode" in
	writethrough | directsync)
		expect "a write without its flush (P1)" "$f1" -ge $COUNT
		expect "a write is not on the device (P1)" "$d1" = $COUNT
		;;
	esac
	if [ "$mode" = unsafe ]; then
		expect "a flush reached the device (P3)" "$f2" = 0
	else
		expect "an fsync without its flush (P2)" "$f2" -ge $COUNT
		expect "a write before an fsync is not on the device (P2)" "$d2" = $((2 * COUNT))
	fi
done
exit $status
