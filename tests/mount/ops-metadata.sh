#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Metadata in every mode: chmod, chown, touch and statfs are the host file's own;
# the directory holds exactly the images and nothing can be made, moved or removed
# in it, by root either; -o ro opens O_RDONLY and refuses every change (P9, P10).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

mnt=$T/mnt

# refused MESSAGE COMMAND...: it fails, and says so
refused() {
	local wanted=$1 message
	shift
	message=$(LC_ALL=C "$@" 2>&1 </dev/null) && fail "cache=$mode: not refused: $*"
	case "$message" in
	*"$wanted"*) ;;
	*) fail "cache=$mode: $*: wanted '$wanted', got '$message'" ;;
	esac
}

unchanged() {
	local i
	for i in a b; do
		cmp "$T/$i.orig" "$T/img.$i" || fail "cache=$mode: image $i changed"
	done
}

statfs() {
	stat -f -c '%b %c %l %s %S' "$1"
}

attributes() {
	stat -c '%a %u %g %s %X %Y' "$1"
}

mkdir "$mnt"
head -c 100001 /dev/urandom >"$T/a.orig"
head -c 5000 /dev/urandom >"$T/b.orig"
for mode in $modes; do
	cp "$T/a.orig" "$T/img.a"
	cp "$T/b.orig" "$T/img.b"
	cmfs_start c -o cache="$mode" "$T/img.a" "$T/img.b" "$mnt"

	# shellcheck disable=SC2012 # what ls shows is what is tested
	expect ". .. img.a img.b" "$(ls -a "$mnt" | sort | xargs)" "cache=$mode: ls -a"
	expect 3 "$(find "$mnt" -ls | wc -l)" "cache=$mode: find -ls"
	expect "$(statfs "$T")" "$(statfs "$mnt")" "cache=$mode: statfs of the mount"
	expect "$(statfs "$T")" "$(statfs "$mnt/img.b")" "cache=$mode: statfs of an image"

	chmod 0604 "$mnt/img.a"
	chown 1234:4321 "$mnt/img.a"
	touch -m -d '2001-02-03 04:05:06' "$mnt/img.a"
	expect "604 1234 4321 981173106" "$(stat -c '%a %u %g %Y' "$T/img.a")" "cache=$mode: host"
	touch -a -d '2002-03-04 05:06:07.891' "$mnt/img.a"
	expect "1015218367 981173106" "$(stat -c '%X %Y' "$T/img.a")" "cache=$mode: host times"
	chgrp 99 "$mnt/img.a"
	expect "$(attributes "$T/img.a")" "$(attributes "$mnt/img.a")" "cache=$mode: both"
	touch "$mnt/img.a"
	[ "$(stat -c %Y "$T/img.a")" -gt 981173106 ] || fail "cache=$mode: touch now"

	refused "Operation not permitted" touch "$mnt/new"
	refused "Operation not permitted" cp "$T/a.orig" "$mnt/new"
	refused "Operation not permitted" mkdir "$mnt/new"
	refused "Operation not permitted" mkfifo "$mnt/new"
	refused "Operation not permitted" mknod "$mnt/new" c 1 3
	refused "Operation not permitted" mv "$mnt/img.a" "$mnt/new"
	refused "Operation not permitted" mv -f "$mnt/img.a" "$mnt/img.b"
	refused "Operation not permitted" rm -f "$mnt/img.a"
	refused "Operation not permitted" ln "$mnt/img.a" "$mnt/new"
	refused "Operation not permitted" ln -s img.a "$mnt/new"
	refused "Operation not permitted" chmod 700 "$mnt"
	refused "No such file" cat "$mnt/new"
	refused "Is a directory" dd if=/dev/null of="$mnt"
	expect $'img.a\nimg.b' "$(ls "$mnt")" "cache=$mode: ls afterwards"
	unchanged
	cmfs_stop c
	unchanged

	cmfs_start ro -o ro,cache="$mode" "$T/img.a" "$T/img.b" "$mnt"
	[ -n "$(fd_flags "${PID[ro]}" "$T/img.a")" ] || fail "cache=$mode: no descriptor"
	while read -r flags; do
		expect 0 $((flags & 3)) "cache=$mode, ro: access mode of the descriptor"
	done < <(fd_flags "${PID[ro]}" "$T/img.a")
	refused "Read-only file system" dd if="$T/b.orig" of="$mnt/img.a" conv=notrunc
	refused "Read-only file system" truncate -s 5 "$mnt/img.a"
	refused "Read-only file system" truncate -s 500000 "$mnt/img.a"
	refused "Read-only file system" fallocate -l 500000 "$mnt/img.a"
	refused "Read-only file system" chmod 600 "$mnt/img.a"
	refused "Read-only file system" touch "$mnt/img.a"
	refused "Read-only file system" rm -f "$mnt/img.a"
	cmp "$T/a.orig" "$mnt/img.a"
	cmp "$T/b.orig" "$mnt/img.b"
	dd if="$mnt/img.a" iflag=direct bs=4096 status=none | cmp - "$T/a.orig"
	odd=iflag=direct
	if served_by_kernel "$mode" rdonly direct && [ "$(direct_align "$T")" -gt 1 ]; then
		refused_unaligned dd if="$mnt/img.a" iflag=direct bs=7777
		odd=iflag=nonblock
	fi
	dd if="$mnt/img.a" $odd bs=7777 status=none | cmp - "$T/a.orig"
	cmfs_stop ro
	unchanged
done
