#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# flock, POSIX and open-file-description locks on an image exclude each other
# between processes, by ranges where they have ranges, and end with their owner,
# in every mode and between handles of each class; who waits for one gets it when
# it is given up, or when its owner is killed.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

img=$T/mnt/img
lock=$(helper lock_file)

# try STATUS WHAT KIND [START LEN]; $flags: the helper's
flags=()
try() {
	local wanted=$1 what=$2 kind=$3 status=0
	shift 3
	"$lock" "${flags[@]}" "$kind" "$img" "$@" </dev/null >/dev/null || status=$?
	expect "$wanted" $status "cache=$mode: ${flags[*]} $kind $*: $what"
}

# taken KIND [START LEN]: somebody else holds it
taken() {
	try 1 "while it is held by another" "$@"
}

# free KIND [START LEN]: it can be had
free() {
	try 0 "while it is free" "$@"
}

# hold KIND [START LEN]: a process of its own has it, until release or its death
hold() {
	local kind=$1 said
	shift
	coproc HOLDER { exec "$lock" "${flags[@]}" "$kind" "$img" "$@"; }
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

# queued: is somebody waiting for a lock on the image?
queued() {
	grep -q -- "-> .*:$(stat -c %i "$img") " /proc/locks
}

# await KIND [START LEN]: a process of its own waits for it
await() {
	rm -f "$T/waiter.in" "$T/waiter.out"
	mkfifo "$T/waiter.in" "$T/waiter.out"
	"$lock" -w "$1" "$img" "${@:2}" <"$T/waiter.in" >"$T/waiter.out" 2>"$T/waiter.log" &
	PID["waiter"]=$!
	exec {waiter_in}>"$T/waiter.in" {waiter_out}<"$T/waiter.out"
	while ! queued; do
		kill -0 "${PID["waiter"]}" || fail "cache=$mode: $*: did not wait: $(cat "$T/waiter.log")"
		! read -r -t 0.01 -u "$waiter_out" _ || fail "cache=$mode: $*: did not wait"
	done
}

end_waiter() { # [SIGNAL]: by the end of its input, or by a signal
	[ $# = 0 ] || kill -"$1" "${PID["waiter"]}"
	exec {waiter_in}>&-
	wait "${PID["waiter"]}" || [ $# = 1 ] || fail "the waiter's end: $(cat "$T/waiter.log")"
	exec {waiter_out}<&-
	unset "PID[waiter]"
}

gets_it() { # WHEN
	local said
	read -r -t 60 -u "$waiter_out" said || fail "cache=$mode: $1: the waiter does not get the lock"
	expect locked "$said"
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
	for kind in flock posix ofd; do
		for ending in release die; do
			hold $kind
			await $kind
			$ending
			gets_it "$kind, $ending"
			taken $kind
			end_waiter
			free $kind
		done
		# One that is killed while it waits has nothing.
		hold $kind
		await $kind
		end_waiter KILL
		! queued || fail "cache=$mode: $kind: who was killed still waits"
		release
		free $kind
		# Shared ones, and each class of handles against the other.
		flags=(-s)
		hold $kind
		free $kind
		flags=(-d)
		taken $kind
		die
		hold $kind
		flags=()
		taken $kind
		die
		free $kind
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
