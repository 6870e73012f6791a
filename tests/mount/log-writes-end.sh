#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How a write log ends: by an unmount or a signal, whole; by SIGKILL, with all that was
# acknowledged in it; on a file system that is full, right up to there, told once, and
# the image goes on (and the daemon ends with 1). Order under writers at the same time;
# data that is not whole sectors; sizes that change.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/acked.sh
. "$LIB/acked.sh"
passthrough=off # with the layer all goes through the daemon

replay=$(helper replay_log)

start() { # OPTIONS
	rm -f "$T/log" "$T/img" "$T/target"
	head -c 4M /dev/urandom >"$T/img"
	cp "$T/img" "$T/target"
	cmfs_start c -o "$1" "$T/img" "$T/mnt"
}

is_the_image() { # WHAT: a replay of the log is, up to zeroes behind its end
	"$replay" replay "$T/log" "$T/target" || fail "$1"
	cmp -n "$(stat -c %s "$T/img")" "$T/target" "$T/img" || fail "$1: not the image"
	[ $(($(stat -c %s "$T/target") - $(stat -c %s "$T/img"))) -lt 512 ] ||
		tail -c +$(($(stat -c %s "$T/img") + 1)) "$T/target" | tr -d '\0' | cmp - /dev/null ||
		fail "$1: something behind the end"
}

is_whole() {
	"$replay" list "$T/log" | tail -n 1 | grep -q 'mark 0 0 dm-log-writes-end$'
}

mkdir "$T/mnt" "$T/full"
for mode in $modes; do
	start "cache=$mode,log-writes=$T/log"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" direct dsync
	want 1000 write 1 5000 1000 a
	want 3 write 2 4194303 3 b
	want 0 truncate 1 3000001
	want 0 truncate 1 6000000
	want 0 fallocate 1 punch 100000 200001
	want 0 fallocate 2 zero 5900000 200000
	want 65536 copy 1 1 1 777777 65536
	ok mmap 1 0 65536
	ok poke 1 513 10000 m
	ok msync 1
	fileop_stop
	if [ "$mode" = none ]; then
		kill -TERM "${PID[c]}"
		cmfs_wait c
	else
		cmfs_stop c
	fi
	is_whole || fail "cache=$mode: not whole"
	is_the_image "cache=$mode"
done

# Writers at the same time, over switches; the end is sudden.
start "cache=none,log-writes=$T/log"
acked_start "$T/mnt/img"
for mode in $modes; do
	setfattr -n user.cmfs.cache -v "$mode" "$T/mnt/img"
	setfattr -n user.cmfs.mark -v "now $mode" "$T/mnt/img"
	sleep 0.2
done
kill -KILL "${PID[c]}"
wait "${PID[c]}" 2>/dev/null || true
unset "PID[c]"
rm "$T/c.pid"
acked_wait
umount "$T/mnt" 2>/dev/null || umount -l "$T/mnt"
! is_whole || fail "killed, and the log is whole"
"$replay" replay "$T/log" "$T/target" || fail "killed: the log is not right"
acked_check "$T/target"
"$replay" list "$T/log" | grep 'mark 0 0 now directsync$' || fail "killed: a mark is missing"
echo "killed: $("$replay" list "$T/log" | wc -l) entries"

# No room for the log.
[ "$(id -u)" = 0 ] || skip "the rest needs root: a small tmpfs"
mount -t tmpfs -o size=1m none "$T/full"
track_mount "$T/full"
for mode in writeback directsync; do
	rm -f "$T/full/log"
	start "cache=$mode,log-writes=$T/full/log"
	fileop_start
	ok open 1 "$T/mnt/img"
	want 65536 write 1 0 65536 a
	want 0 fsync 1
	setfattr -n user.cmfs.mark -v before "$T/mnt/img"
	cp "$T/img" "$T/then"
	for i in $(seq 1 30); do
		want 65536 write 1 $((i * 65536)) 65536 b
	done
	want 0 fsync 1
	expect 1 "$(grep -c 'the write log .* has stopped: No space' "$T/c.log")" "$mode: told"
	case $(getfattr --absolute-names --only-values -n user.cmfs.mark "$T/mnt/img") in
	"stopped after "*" entries: No space left on device") ;;
	*) fail "user.cmfs.mark does not tell" ;;
	esac
	LC_ALL=C setfattr -n user.cmfs.mark -v late "$T/mnt/img" 2>"$T/err" && fail "a late mark"
	grep -q "No space" "$T/err" || fail "a late mark: $(cat "$T/err")"
	expect none "$(getfattr --absolute-names --only-values -n user.cmfs.error "$T/mnt/img")"
	want "65536 b" read 1 $((30 * 65536)) 65536
	fileop_stop
	cmfs_stop c 1
	expect b "$(tail -c +$((30 * 65536 + 1)) "$T/img" | head -c 65536 | tr -s b)" "$mode: data"
	mv "$T/full/log" "$T/log"
	! is_whole || fail "$mode: the log is whole"
	marked=$("$replay" list "$T/log" | awk '$5 == "before" { print $1 }')
	"$replay" replay "$T/log" "$T/target" "$marked"
	cmp "$T/target" "$T/then" || fail "$mode: the state at the mark"
	"$replay" replay "$T/log" "$T/target"
done
