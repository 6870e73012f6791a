#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Several processes switch two images of one mount at a time, under writers that keep
# account (P7): each switch succeeds and none starves, no writer fails, copies from
# one image to the other (which enter two gates) go on, and what was acknowledged is
# in the images.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/acked.sh
. "$LIB/acked.sh"
# shellcheck source=../lib/switch.sh
. "$LIB/switch.sh"

switcher() { # IMAGE FIRST
	local mode n=0
	for mode in $(tail -n "+$2" <<<"${all_switches// /$'\n'}") $all_switches; do
		timeout 120 setfattr -n user.cmfs.cache -v "$mode" "$T/mnt/$1" || return 1
		n=$((n + 1))
	done
	echo "$1: $n switches"
}

mkdir "$T/mnt"
for args in "" -s; do
	truncate -s 4M "$T/a" "$T/b"
	# shellcheck disable=SC2086 # no argument if empty
	cmfs_start c $args -o cache=none "$T/a" "$T/b" "$T/mnt"
	acked_start "$T/mnt/a"
	fileop_start
	ok open 1 "$T/mnt/a"
	ok open 2 "$T/mnt/b"
	switchers=()
	for who in "a 1" "a 5" "a 9" "b 2" "b 7"; do
		# shellcheck disable=SC2086 # two words
		switcher $who &
		switchers+=($!)
		PID["switcher-${who/ /-}"]=$!
		: >"$T/switcher-${who/ /-}.log"
	done
	copies=0
	while kill -0 "${switchers[@]}" 2>/dev/null; do
		ok copy 1 0 2 0 65536
		ok copy 2 2097152 1 3145728 65536
		copies=$((copies + 2))
	done
	for pid in "${switchers[@]}"; do
		wait "$pid" || fail "a switch"
	done
	for who in a-1 a-5 a-9 b-2 b-7; do
		unset "PID[switcher-$who]"
	done
	echo "${args:-threads}: $copies copies meanwhile"
	fileop_stop
	for pid in "${acked_pids[@]}"; do
		kill -0 "$pid" || fail "a writer ended: $(cat "$T"/acked-*.log)"
		kill "$pid"
		wait "$pid" || true
	done
	cmfs_stop c
	acked_check "$T/a"
	rm "$T/a" "$T/b"
done
