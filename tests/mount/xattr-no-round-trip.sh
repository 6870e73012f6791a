#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A write costs one request, or none where the kernel serves the handle: the kernel
# does not ask for security.capability before each, in no mode
# (FUSE_CAP_HANDLE_KILLPRIV_V2).
# Not yet told what passthrough changes: on the daemon's data path in both runs.
CMFS_PASSTHROUGH=off
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

mkdir "$T/mnt"
truncate -s 4M "$T/img"
for mode in $modes; do
	cmfs_start c -d -o cache="$mode" "$T/img" "$T/mnt"
	dd if=/dev/zero of="$T/mnt/img" bs=4096 count=100 conv=notrunc status=none
	dd if=/dev/zero of="$T/mnt/img" bs=4096 count=100 conv=notrunc oflag=direct status=none
	cmfs_stop c
	writes=$(grep -c "opcode: WRITE" "$T/c.log" || true)
	asked=$(grep -c "opcode: GETXATTR" "$T/c.log" || true)
	all=$(grep -c "opcode: " "$T/c.log")
	echo "$mode: $all requests, $writes writes, $asked questions for xattrs"
	wanted=200
	served_by_kernel "$mode" && wanted=$((wanted - 100))
	served_by_kernel "$mode" direct && wanted=$((wanted - 100))
	expect $wanted "$writes" "$mode: writes"
	[ "$asked" -le 5 ] || fail "$mode: $asked questions for xattrs"
	[ "$all" -le $((wanted + 40)) ] || fail "$mode: $all requests, $wanted of them writes"
done
