#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file as mountpoint, over the image itself and over another file: in each mode the
# image is at exactly that path, with its attributes, the mode's open flags and host
# calls; the mode is switched there; its pages are dropped; a path below it is none.
# What is mounted over is as it was afterwards.
CMFS_DETECT_LEAKS=0
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

declare -A octal=([writeback]="02100002" [none]="02100002 02140002"
	[writethrough]="02110002" [directsync]="02110002 02150002" [unsafe]="02100002")
declare -A flags=([writeback]=plain [none]=direct [writethrough]=dsync
	[directsync]="direct,dsync" [unsafe]=plain)
get() { # NAME
	getfattr --absolute-names --only-values -n "user.cmfs.$1" "$at"
}

# While the kernel serves writers there is a read-only descriptor beside the mode's.
check_flags() { # MODE
	expect "$1" "$(get cache)"
	expect "${octal[$1]}" "$(fd_flags "${PID[c]}" "$img" | grep -vx 02100000 | xargs)" "$1: flags"
}

# The host calls of one operation.
calls_of() { # NAME COMMAND...
	ok mark 1 "$1"
	"${@:2}"
	ok mark 1 "$1-end"
	section c "$1" "$1-end" | events
}

# As promise-strace-modes.sh has it for a mount on a directory, with handle 1 only.
check_calls() { # MODE
	local f=${flags[$1]} flush="fsync:${flags[$1]} " after=""
	[ "$1" != unsafe ] || flush=""
	case $1 in writethrough | directsync) after="fdatasync:$f " ;; esac
	strace_start c
	served_by_kernel "$1" ||
		expect "pwritev2:$f:0 reply" "$(calls_of write ok write 1 0 4096 a)" "$1: a write"
	expect "${flush}reply" "$(calls_of fsync ok fsync 1)" "$1: fsync"
	expect "ftruncate:$f ${after}reply" "$(calls_of truncate ok truncate 1 2097152)" "$1: truncate"
	strace_stop c
	rm "$T/c.strace"
}

run() { # MODE
	local sum
	cmfs_start c -o cache="$1" "$img" "$at"
	expect "$img $at" "$(awk '$3 == "fuse.cmfs" { print $1, $2 }' /proc/mounts | grep -F "$T/")" \
		"source and mountpoint"
	expect "regular file 1048576 640 1" "$(stat -c '%F %s %a %h' "$at")"
	cmp "$T/host" "$at"
	check_flags "$1"
	expect none "$(get error)"
	expect "$("$CMFS" --version | cut -d ' ' -f 2)" "$(get version)"
	get keys | grep -q user.cmfs.cache || fail "keys: $(get keys)"
	expect "" "$(getfattr --absolute-names -d "$at")" "listed attributes"
	for command in "-n user.cmfs.version -v 1" "-x user.cmfs.keys"; do
		# shellcheck disable=SC2086 # words
		! setfattr $command "$at" 2>"$T/err" || fail "setfattr $command"
		grep -q "Read-only" "$T/err" || fail "setfattr $command: $(cat "$T/err")"
	done
	setfattr -n user.own -v 1 "$at"
	expect 1 "$(getfattr --absolute-names --only-values -n user.own "$T/host")"
	setfattr -x user.own "$at"
	! cat "$at/img" 2>"$T/err" || fail "a path below a file"
	grep -q "Not a directory" "$T/err" || fail "$(cat "$T/err")"
	! ls "$at/" 2>/dev/null || fail "a file with a slash"
	expect "$(stat -f -c '%b %S' "$T/host")" "$(stat -f -c '%b %S' "$at")" "statfs"

	fileop_start
	ok open 1 "$at"
	check_calls "$1"
	ok truncate 1 1048576
	for mode in $modes $1; do
		setfattr -n user.cmfs.cache -v "$mode" "$at"
		check_flags "$mode"
		ok write 1 5000 3000 w # unaligned
		want "3000 w" read 1 5000 3000
	done
	ok mmap 1 0 65536
	ok poke 1 8192 4096 m
	ok msync 1
	want "4096 m" read 1 8192 4096
	fileop_stop
	chmod 600 "$at"
	expect 600 "$(stat -c %a "$T/host")" "chmod"
	chmod 640 "$at"
	head -c 300000 /dev/urandom >"$T/data"
	dd if="$T/data" of="$at" bs=7000 conv=notrunc status=none
	cmp "$at" "$T/host"
	sum=$(sha256sum <"$at")
	cmfs_stop c
	expect "$sum" "$(sha256sum <"$img")" "$1: the image"
}

img=$T/img
head -c 1M /dev/urandom >"$img"
chmod 640 "$img"
ln "$img" "$T/host" # another name of it, not mounted over
echo "mounted over" >"$T/other"
at=$img
for start in $modes; do
	run "$start"
done
at=$T/other
run directsync
expect "mounted over" "$(cat "$T/other")" "the other file"

# What the kernel has of the file is dropped at a switch.
cmfs_start c -o cache=writethrough,passthrough=off "$img" "$at"
cached() {
	fincore -b -n -o RES "$at" | tr -d ' '
}
cat "$at" >/dev/null
expect 1048576 "$(cached)" "cached bytes"
setfattr -n user.cmfs.cache -v none "$at"
expect 0 "$(cached)" "cached bytes after a switch"
if [ "$(id -u)" = 0 ]; then
	bdi=$(awk -v at="$at" '$5 == at { print $3 }' /proc/self/mountinfo)
	expect 1024 "$(cat "/sys/class/bdi/$bdi/read_ahead_kb")" "read-ahead"
fi
cmfs_stop c

# Read-only, and what a mapping has dirtied at the end.
cmfs_start c -o ro "$img" "$img"
cmp "$T/host" "$img"
! (echo x >>"$img") 2>/dev/null || fail "written, though read-only"
cmfs_stop c
for pt in off auto; do
	cmfs_start c -o passthrough=$pt,cache=writethrough "$img" "$img"
	fileop_start
	ok open 1 "$img"
	ok mmap 1 0 4096
	ok poke 1 0 4096 $pt
	kill -TERM "${PID[c]}"
	cmfs_wait c
	! mounted "$img" || fail "still mounted after SIGTERM"
	expect ${pt:0:1} "$(head -c 4096 "$img" | tr -s "${pt:0:1}")" "dirty when it ended"
	fileop_stop
done
