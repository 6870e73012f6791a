#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file as mountpoint for images that are none themselves: a block device and an NBD
# export are seen at its path, in each mode, with their bytes and their size.
# An overlay over itself is thrown away at the end, or committed.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/nbd.sh
. "$LIB/nbd.sh"

[ "$(id -u)" = 0 ] || skip "needs root for loop devices"
show() { # IMAGE BACKING-FILE
	local mode
	for mode in $modes; do
		cmfs_start c -o cache="$mode" "$1" "$T/at"
		expect "regular file 4194304" "$(stat -c '%F %s' "$T/at")" "$1 in $mode"
		cmp "$2" "$T/at" || fail "$1 in $mode: its bytes"
		echo "in $mode" | dd of="$T/at" bs=4096 seek=3 conv=notrunc,fsync status=none
		! truncate -s 8M "$T/at" 2>/dev/null || fail "$1 in $mode: another size"
		cmfs_stop c
		expect "in $mode" "$(tail -c +12289 "$2" | head -n 1)" "$1 in $mode: written"
		expect "mounted over" "$(cat "$T/at")"
	done
}

echo "mounted over" >"$T/at"
head -c 4M /dev/urandom >"$T/disk"
dev= # set by loop_attach
loop_attach dev "$T/disk"
show "$dev" "$T/disk"
loop_detach "$dev"

head -c 4M /dev/urandom >"$T/export"
nbd_serve server file "$T/export"
show "$(nbd_uri server)" "$T/export"
nbd_kill server

# Thrown away: the path shows what is written there, and the image does not.
head -c 1M /dev/urandom >"$T/img"
ln "$T/img" "$T/host"
cp "$T/img" "$T/old"
for commit in no yes; do
	cmfs_start c -o snapshot=on,cache=none "$T/img" "$T/img"
	cmp "$T/old" "$T/img"
	echo "thrown away, or not" | dd of="$T/img" bs=5000 seek=1 conv=notrunc status=none
	expect "thrown away, or not" "$(tail -c +5001 "$T/img" | head -n 1)"
	cmp "$T/old" "$T/host" || fail "snapshot=on: the image has changed"
	[ $commit = no ] || setfattr -n user.cmfs.commit -v now "$T/img"
	cmfs_stop c
	[ $commit = yes ] || cmp "$T/old" "$T/img"
done
expect "thrown away, or not" "$(tail -c +5001 "$T/img" | head -n 1)" "after a commit"
cmp "$T/img" "$T/host"
