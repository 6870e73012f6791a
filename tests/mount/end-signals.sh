#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A clean end (P12): SIGTERM, SIGINT, SIGHUP under load, in every mode: status 0, the
# mount is gone, every acknowledged write is in the image, and so is what a shared
# mapping had dirtied; the last thing done to an image is a flush, but in unsafe there
# is none at all (P3). It does not matter which signals our caller ignored or blocked.
CMFS_DETECT_LEAKS=0
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/acked.sh
. "$LIB/acked.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"

signals=(TERM INT HUP TERM INT)
mkdir "$T/mnt"
n=0
for mode in $modes; do
	for args in "" -s; do
		signal=${signals[n++ % 5]}
		head -c 4M /dev/zero >"$T/img"
		# shellcheck disable=SC2086 # no argument if empty
		cmfs_start c $args -o cache="$mode" "$T/img" "$T/mnt"
		fileop_start
		ok open 1 "$T/mnt/img"
		ok mmap 1 3145728 65536
		ok poke 1 0 65536 m
		strace_start c
		acked_start "$T/mnt/img"
		kill -"$signal" "${PID[c]}"
		cmfs_wait c
		strace_stop c
		! mounted "$T/mnt" || fail "$mode: still mounted"
		[ ! -e "$T/c.pid" ] || fail "$mode: the pid file is still there"
		acked_wait
		fileop_stop
		acked_check "$T/img"
		expect m "$(dd if="$T/img" bs=64K skip=48 count=1 status=none | tr -s m)" \
			"$mode: what the mapping had dirtied"

		# Of the calls that change the image or flush it, the last one.
		grep -E ' (pwritev2|fsync|fdatasync|ftruncate|fallocate)\(.*/img>' "$T/c.strace" |
			grep -v unfinished >"$T/calls" || true
		last=$(tail -n 1 "$T/calls" | sed 's/^[0-9]* *\([a-z0-9]*\).*/\1/')
		flushes=$(grep -c sync "$T/calls" || true)
		echo "-- SIG$signal, $mode ${args:-threads}: $(wc -l <"$T/calls") calls, last: $last"
		case $mode in
		unsafe) expect 0 "$(grep -cE '(sync|SYNC)' "$T/calls" || true)" "unsafe: flushes" ;;
		*) expect fsync "$last" "$mode: the last call of $flushes flushes" ;;
		esac
		rm "$T/img" "$T/c.strace"
	done
done

# Ignored and blocked by our caller, all of them.
printf '#!/bin/sh\nexec env --ignore-signal --block-signal "%s" "$@"\n' "$CMFS" >"$T/started"
chmod 755 "$T/started"
CMFS=$T/started
for signal in TERM INT HUP; do
	echo hello >"$T/img"
	cmfs_start c "$T/img" "$T/mnt"
	expect hello "$(cat "$T/mnt/img")"
	kill -$signal "${PID[c]}"
	for ((i = 0; i < 600; i++)); do
		mounted "$T/mnt" || break
		sleep 0.05
	done
	! mounted "$T/mnt" || fail "SIG$signal, with signals ignored and blocked: still mounted"
	cmfs_wait c
	[ ! -e "$T/c.pid" ] || fail "SIG$signal: the pid file is still there"
done
