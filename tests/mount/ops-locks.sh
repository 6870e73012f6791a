#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# flock, POSIX and open-file-description locks on an image exclude each other
# between processes, by ranges where they have ranges, and end with their owner,
# in every mode.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

img=$T/mnt/img
lock=$(helper lock_file)

# taken KIND [START LEN]: somebody else holds it
taken() {
	local kind=$1 status=0
	shift
	"$lock" "$kind" "$img" "$@" </dev/null >/dev/null || status=$?
	expect 1 $status "cache=$mode: $kind $* while it is held by another"
}

# free KIND [START LEN]: it can be had
free() {
	local kind=$1
	shift
	"$lock" "$kind" "$img" "$@" </dev/null >/dev/null || fail "cache=$mode: $kind $* is not free"
}

# hold KIND [START LEN]: a process of its own has it, until release or its death
hold() {
	local kind=$1 said
	shift
	coproc HOLDER { exec "$lock" "$kind" "$img" "$@"; }
	holder=$HOLDER_PID
	read -r said <&"${HOLDER[0]}" || fail "cache=$mode: $kind $* cannot be taken"
	expect locked "$said"
}

release() {
	local input=${HOLDER[1]}
	exec {input}>&-
	wait "$holder"
}

die() {
	kill -KILL "$holder"
	wait "$holder" || true
}

mkdir "$T/mnt"
truncate -s 1M "$T/img" "$T/other"
for mode in $modes; do
	cmfs_start c -o cache="$mode" "$T/img" "$T/other" "$T/mnt"
	for kind in flock posix ofd; do
		for ending in release die; do
			hold $kind
			taken $kind
			"$lock" $kind "$T/mnt/other" </dev/null >/dev/null || fail "another image is locked"
			$ending
			free $kind
		done
	done
	# A process's POSIX lock and a description's are of one kind, flock is another.
	hold posix
	taken ofd
	free flock
	release
	hold ofd
	taken posix
	release
	for kind in posix ofd; do
		hold $kind 100 50
		taken $kind 149 1
		taken $kind 0 0
		free $kind 150 10
		free $kind 0 100
		die
		free $kind 100 50
	done
	# With the tool that scripts use.
	flock -n "$img" true
	hold flock
	! flock -n "$img" true || fail "cache=$mode: flock(1) got a held lock"
	release
	flock -n "$img" true
	cmfs_stop c
done
