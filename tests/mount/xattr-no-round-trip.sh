#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A write costs one request: the kernel does not ask for security.capability before
# each, in no mode (FUSE_CAP_HANDLE_KILLPRIV_V2).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

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
	expect 200 "$writes" "$mode: writes"
	[ "$asked" -le 5 ] || fail "$mode: $asked questions for xattrs"
	[ "$all" -le 240 ] || fail "$mode: $all requests for 200 writes"
done
