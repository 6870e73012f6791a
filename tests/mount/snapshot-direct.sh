#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P6 with an overlay: in none and directsync neither reads nor writes leave pages of the
# image in the host's cache, nor does a commit, and the overlay's own data is out of it
# as well: its descriptor has O_DIRECT. Writeback is the control.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

img=$T/mnt/img
mkdir "$T/mnt" "$T/tmp"
export TMPDIR=$T/tmp

overlay_flags() { # octal, of each descriptor of a file without a name in TMPDIR
	local fd
	for fd in /proc/"${PID[c]}"/fd/*; do
		case $(readlink "$fd") in
		"$T/tmp/"*" (deleted)") awk '/^flags:/ { print $2 }' "${fd/\/fd\//\/fdinfo\/}" ;;
		esac
	done
}

for mode in writeback none directsync; do
	head -c 2000001 /dev/urandom >"$T/img"
	sync "$T/img"
	dd if="$T/img" iflag=nocache count=0 status=none
	cp "$T/img" "$T/wanted" # reads it
	dd if="$T/img" iflag=nocache count=0 status=none
	fileop_start
	ok open 9 "$T/img" rdonly
	[ "$(op cachestat 9)" != ENOSYS ] || skip "the kernel has no cachestat(2)"
	cmfs_start c -o "snapshot=on,cache=$mode" "$T/img" "$T/mnt"
	ok open 1 "$img"
	ok write 1 5000 3 a
	ok write 1 8192 65536 b
	ok write 1 1999990 20000 c
	ok fallocate 1 punch 300000 100000
	ok read 1 0 65536
	ok read 1 1000001 300000
	ok read 1 1900000 200000
	pages=$(op cachestat 9)
	if [ "$mode" = writeback ]; then
		[ "$pages" -gt 10 ] || fail "control: writeback, but $pages pages are cached"
	else
		expect 0 "$pages" "$mode: pages of the image"
		overlay=""
		for flags in $(overlay_flags); do # one of two: the other is for unaligned ends
			overlay+=" $(((8#$flags & 8#40000) != 0))"
		done
		case "$overlay" in
		" 1 0" | " 0 1") ;;
		*) fail "$mode: descriptors of the overlay that are direct: '$overlay'" ;;
		esac
	fi
	cp "$img" "$T/wanted"
	setfattr -n user.cmfs.commit -v now "$img"
	[ "$mode" = writeback ] || expect 0 "$(op cachestat 9)" "$mode: pages after a commit"
	fileop_stop
	cmp "$T/wanted" "$T/img" || fail "$mode: committed"
	cmfs_stop c
done
