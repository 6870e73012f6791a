#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# readonly=on of one image in a mount that can be written: it is opened for reading only
# and no open for writing, no change of content or attributes gets by, whoever asks (root
# does), however it would be served: EROFS. Its control keys work as ever. The other
# image of the same mount is written meanwhile.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

mkdir "$T/mnt"
ro=$T/mnt/ro
head -c 1M /dev/urandom >"$T/ro"
cp "$T/ro" "$T/rw"
chmod 640 "$T/ro"
state() {
	sha256sum <"$T/ro"
	stat -c '%a %u %g %s %b %Y %Z' "$T/ro"
	getfattr --absolute-names -d -m - "$T/ro"
}
before=$(state)

for mode in $modes; do
	cmfs_start c -o "cache=$mode" --drive "file=$T/ro,readonly=on" "$T/rw" "$T/mnt"
	for flags in $(fd_flags "${PID[c]}" "$T/ro"); do
		expect 0 $((8#$flags & 3)) "$mode: access mode of the daemon's descriptor"
	done
	expect 640 "$(stat -c %a "$ro")" "$mode: the mode bits are the host file's"
	fileop_start
	want EROFS open 1 "$ro"
	want EROFS open 1 "$ro" direct
	want EROFS open 1 "$ro" dsync
	want EROFS open 1 "$ro" trunc
	ok open 2 "$ro" rdonly
	want EBADF write 2 0 4096 a
	want EBADF fallocate 2 punch 0 4096
	want EROFS open 1 "$ro" # with a reader, too
	ok open 3 "$T/mnt/rw"
	ok write 3 4096 4096 a
	ok copy 2 0 3 8192 4096
	want EBADF copy 3 0 2 8192 4096
	for change in "truncate -s 5" "touch -d 2001-01-01" "chmod 600" "chown 1:1" \
		"setfattr -n user.note -v new" "setfattr -x user.note"; do
		# shellcheck disable=SC2086 # words
		message=$(LC_ALL=C $change "$ro" 2>&1) && fail "$mode: $change is not refused"
		case $message in *"Read-only file system"*) ;; *) fail "$mode: $change: $message" ;; esac
	done
	ok cache 2 unsafe
	expect unsafe "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$ro")"
	ok cache 2 "$mode"
	want EROFS open 1 "$ro"
	fileop_stop
	cmp "$T/ro" "$ro" || fail "$mode: the image as it is read"
	cmfs_stop c
	expect "$before" "$(state)" "$mode: the image"
	cmp -s "$T/ro" "$T/rw" && fail "$mode: the other image was not written"
	cp "$T/ro" "$T/rw"
done
