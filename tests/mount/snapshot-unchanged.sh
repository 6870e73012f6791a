#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# snapshot=on: whatever is done to an image through the mount, in each mode, its host
# file stays what it was, to the byte and with its times, space and attributes; it is
# open for reading only. What was written is gone with the mount, also when the daemon is
# killed, and so is the temporary file, which never has a name.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
img=$T/mnt/img
mkdir "$T/mnt" "$T/tmp" "$T/fs"
export TMPDIR=$T/tmp

head -c 5M /dev/urandom >"$T/img"
truncate -s 16000001 "$T/img"
fallocate -p -o 1M -l 1M "$T/img"
setfattr -n user.note -v kept "$T/img"
touch -d "2020-02-02 02:02:02" "$T/img"
state() {
	sha256sum <"$T/img"
	stat -c '%a %u %g %s %b %Y %Z' "$T/img"
	getfattr --absolute-names -d -m - "$T/img"
}
before=$(state)

no_temp_files() { # WHEN
	expect "" "$(ls -A "$T/tmp")" "temporary files with a name, $1"
}

readonly_on_host() { # MODE
	local flags
	for flags in $(fd_flags "${PID[c]}" "$T/img"); do
		expect 0 $((8#$flags & 3)) "$1: access mode of the daemon's descriptor of the image"
	done
	[ -n "${flags:-}" ] || fail "$1: the daemon does not have the image open"
}

heavy() {
	dd if=/dev/urandom of="$img" bs=7777 seek=10 count=200 conv=notrunc status=none
	fallocate -p -o 1200000 -l 300001 "$img"
	fallocate -z -o 8000000 -l 1000001 "$img"
	fallocate -o 15M -l 3M "$img"
	truncate -s 6000000 "$img"
	truncate -s 16000000 "$img"
	touch -d "2021-01-01" "$img"
	sync "$img"
}

with_file_system() {
	local loop=""
	loop_attach loop "$img"
	mkfs.ext4 -q -F "$loop"
	mount "$loop" "$T/fs"
	track_mount "$T/fs"
	sqlite3 "$T/fs/db" "create table t(x); with recursive c(n) as
		(select 1 union all select n + 1 from c where n < 2000)
		insert into t select hex(randomblob(200)) from c;"
	umount "$T/fs"
	mount "$loop" "$T/fs"
	expect "ok 2000" "$(sqlite3 "$T/fs/db" "pragma integrity_check; select count(*) from t;" |
		xargs)" "the database in the image"
	umount "$T/fs"
	e2fsck -fn "$loop" >"$T/fsck.log" 2>&1 || fail "$(cat "$T/fsck.log")"
	loop_detach "$loop"
}

for mode in $modes; do
	cmfs_start c -o "snapshot=on,cache=$mode" "$T/img" "$T/mnt"
	cmp "$T/img" "$img" || fail "$mode: at first it is not the image"
	heavy
	case $mode in none | unsafe) with_file_system ;; esac
	cmp -s "$T/img" "$img" && fail "$mode: nothing has changed"
	readonly_on_host "$mode"
	no_temp_files "$mode"
	expect "$before" "$(state)" "$mode: the image while it is mounted"
	cmfs_stop c
	expect "$before" "$(state)" "$mode: the image after the unmount"
done

# What is not content belongs to the image.
cmfs_start c -o snapshot=on "$T/img" "$T/mnt"
for change in "chmod 600" "chown 1:1" "setfattr -n user.note -v new" "setfattr -x user.note"; do
	# shellcheck disable=SC2086 # words
	message=$(LC_ALL=C $change "$img" 2>&1) && fail "$change is not refused"
	case $message in *"Read-only file system"*) ;; *) fail "$change: $message" ;; esac
done
expect kept "$(getfattr --absolute-names --only-values -n user.note "$img")"
touch -d "2021-01-01 00:00:00Z" "$img"
expect 1609459200 "$(stat -c %Y "$img")" "a time that was set"
setfattr -n user.cmfs.cache -v none "$img"
setfattr -x user.cmfs.cache "$img"

# Killed in the middle of it.
head -c 3M /dev/urandom >"$T/new"
dd if="$T/new" of="$img" bs=1M conv=notrunc status=none
sync "$img"
kill -KILL "${PID[c]}"
cmfs_wait c 137
rm "$T/c.pid" # it could not
no_temp_files "after a kill"
expect "$before" "$(state)" "the image after a kill"
cmfs_start c -o snapshot=on "$T/img" "$T/mnt"
cmp "$T/img" "$img" || fail "something of the killed daemon's is left"
cmfs_stop c
expect "$before" "$(state)" "the image at the end"
