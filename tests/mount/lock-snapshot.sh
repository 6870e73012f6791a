#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P8 with an overlay: the image has a reader's lock, so that several can be on one image
# and no writer comes. A commit takes the writer's for as long as it writes: it is refused
# while there is another reader, and afterwards readers get in again.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/lock.sh
. "$LIB/lock.sh"

mkdir "$T/mnt" "$T/mnt2"
head -c 1M /dev/urandom >"$T/img"
cp "$T/img" "$T/old"

cmfs_start reader -o ro "$T/img" "$T/mnt"
wanted=$(locks "$T/img")
[ -n "$wanted" ] || skip "$T: no locks there"
cmfs_stop reader

for mode in writeback none; do
	cmfs_start c -o "snapshot=on,cache=$mode" "$T/img" "$T/mnt"
	expect "$wanted" "$(locks "$T/img")" "$mode: a reader's locks"
	refused "$T/img" "$T/img" "$T/mnt2"
	cmfs_start other -o snapshot=on "$T/img" "$T/mnt2"
	printf 1 | dd of="$T/mnt/img" conv=notrunc status=none
	printf 2 | dd of="$T/mnt2/img" conv=notrunc status=none
	expect "1 2" "$(head -c 1 "$T/mnt/img") $(head -c 1 "$T/mnt2/img")" "$mode: two overlays"
	message=$(LC_ALL=C setfattr -n user.cmfs.commit -v now "$T/mnt/img" 2>&1) &&
		fail "$mode: committed below another reader"
	case $message in *"resource busy"*) ;; *) fail "$mode: $message" ;; esac
	grep -q "img: user.cmfs.commit not changed: $T/img: .*; the image is unchanged" "$T/c.log" ||
		fail "$mode: the log: $(cat "$T/c.log")"
	expect "$wanted" "$(locks "$T/img")" "$mode: locks after a commit that was refused"
	cmp "$T/old" "$T/img" || fail "$mode: the image was changed"
	cmfs_stop other
	setfattr -n user.cmfs.commit -v now "$T/mnt/img"
	expect 1 "$(head -c 1 "$T/img")" "$mode: committed"
	expect "$wanted" "$(locks "$T/img")" "$mode: locks after a commit"
	cmfs_start other -o ro "$T/img" "$T/mnt2"
	cmfs_stop other
	cmfs_stop c
	cp "$T/old" "$T/img"
done
