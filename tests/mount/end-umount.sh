#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An unmount is a clean end (P12): also lazy, with files still open and a mapping dirty;
# signals while modes are switched; two signals at once; one when nothing is going on;
# a daemon that was just mounted. Status 0 each time, and all of the data is there.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/acked.sh
. "$LIB/acked.sh"
# shellcheck source=../lib/switch.sh
. "$LIB/switch.sh"

mkdir "$T/mnt"
for args in "" -s; do
	# Busy: umount refuses; lazily: it goes on until the last handle is closed.
	head -c 4M /dev/zero >"$T/img"
	# shellcheck disable=SC2086 # no argument if empty
	cmfs_start c $args -o cache=none "$T/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok mmap 1 0 65536
	! umount "$T/mnt" 2>/dev/null || fail "unmounted, though busy"
	umount -l "$T/mnt"
	ok write 1 65536 4096 a
	want "4096 a" read 1 65536 4096
	ok poke 1 0 4096 m
	fileop_stop
	cmfs_wait c
	expect ma "$(head -c 4K "$T/img" | tr -s m)$(dd if="$T/img" bs=4K skip=16 count=1 status=none |
		tr -s a)" "after a lazy unmount"

	# While modes are switched, under writers.
	for signal in TERM HUP; do
		head -c 4M /dev/zero >"$T/img"
		# shellcheck disable=SC2086 # no argument if empty
		cmfs_start c $args -o cache=none "$T/img" "$T/mnt"
		acked_start "$T/mnt/img"
		(while true; do
			for mode in $all_switches; do
				setfattr -n user.cmfs.cache -v "$mode" "$T/mnt/img" || exit 0
			done
		done) 2>/dev/null &
		switcher=$!
		while [ "$(grep -c 'is now' "$T/c.log" || true)" -lt 30 ]; do
			sleep 0.02
		done
		kill -$signal "${PID[c]}"
		kill -$signal "${PID[c]}"
		cmfs_wait c
		! mounted "$T/mnt" || fail "still mounted"
		wait $switcher
		acked_wait
		acked_check "$T/img"
		echo "${args:-threads}, SIG$signal after $(grep -c 'is now' "$T/c.log") switches"
	done

	# When nothing is going on, and as soon as it is there.
	for signal in TERM INT HUP; do
		# shellcheck disable=SC2086 # no argument if empty
		cmfs_start c $args "$T/img" "$T/mnt"
		kill -$signal "${PID[c]}"
		cmfs_wait c
		! mounted "$T/mnt" || fail "still mounted"
	done
done

# Before it is there: nothing is left mounted, whenever the signal comes.
for ms in 0 1 2 4 8 16 32; do
	"$CMFS" -f "$T/img" "$T/mnt" >"$T/c.log" 2>&1 &
	PID["c"]=$!
	sleep "$(printf '0.%03d' $ms)"
	kill -TERM "${PID["c"]}"
	status=0
	wait "${PID["c"]}" || status=$?
	unset "PID[c]"
	case $status in 0 | 1 | 143) ;; *) fail "SIGTERM after $ms ms: $status, $(cat "$T/c.log")" ;; esac
	! mounted "$T/mnt" || fail "SIGTERM after $ms ms: still mounted"
done
