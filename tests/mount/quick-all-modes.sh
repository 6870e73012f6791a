#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each mode: the mode table's host open flags are real, and bytes written through
# the mount are the bytes in the image.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

declare -A flags=(
	[writeback]="02100002"
	[none]="02100002 02140002"
	[writethrough]="02110002"
	[directsync]="02110002 02150002"
	[unsafe]="02100002"
)
mkdir "$T/mnt"
for mode in $modes; do
	truncate -s 1M "$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	expect "$mode" "$(getfattr --only-values -n user.cmfs.cache "$T/mnt/img")"
	# A direct mode has a second descriptor, for the block that the file's end cuts.
	expect "${flags[$mode]}" "$(fd_flags "${PID[c]}" "$T/img" | xargs)" "$mode: flags"
	head -c 300000 /dev/urandom >"$T/data"
	dd if="$T/data" of="$T/mnt/img" bs=7000 conv=notrunc status=none
	cmp -n 300000 "$T/data" "$T/mnt/img"
	cmfs_stop c
	cmp -n 300000 "$T/data" "$T/img"
	expect 1048576 "$(stat -c %s "$T/img")"
	rm "$T/img"
done
