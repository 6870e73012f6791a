#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the host's file system cannot hold for its size, in every mode: EFBIG, to
# writes, truncation, allocation and copies. It is a refusal: the image has not failed
# (P5), its size is as before (P9), and what lies below the limit goes on.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/failed.sh
. "$LIB/failed.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/host" "$T/mnt"
truncate -s 32M "$T/disk"
loop=""
loop_attach loop "$T/disk"
# Without extents a file of 1 KiB blocks ends at 16 GiB and a little.
mkfs.ext4 -q -b 1024 -O ^extents,^64bit,^huge_file "$loop" 2>/dev/null
mount "$loop" "$T/host"
track_mount "$T/host"
below=$((16 << 30))
beyond=$((20 << 30))
truncate -s $beyond "$T/host/probe" 2>/dev/null && skip "this file system has no limit at 16 GiB"

for mode in $modes; do
	rm -f "$T/host/img"
	truncate -s 1M "$T/host/img"
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	want 4096 write 1 0 4096 a
	for i in 1 2; do
		want EFBIG write $i $beyond 4096 b
		want EFBIG write $i $((beyond + 1)) 100 b
		want EFBIG truncate $i $beyond
		# Such files cannot be allocated ahead at all.
		is_errno fallocate "$(op fallocate $i alloc $beyond 4096)" EFBIG EOPNOTSUPP
		want EFBIG copy $i 0 $i $beyond 4096
	done
	expect 1048576 "$(stat -c %s "$T/mnt/img")" "cache=$mode: size"
	is_sound "cache=$mode"
	want 4096 write 1 $((below - 4096)) 4096 c
	want "4096 c" read 1 $((below - 4096)) 4096
	is_sound "cache=$mode: below the limit"
	want "4096 a" read 1 0 4096
	fileop_stop
	cmfs_stop c
	expect $below "$(stat -c %s "$T/host/img")" "cache=$mode: size of the host file"
done
