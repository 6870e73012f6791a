#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon may die (P11): SIGKILL under load, in every mode. Accesses fail with
# ENOTCONN rather than hang, every acknowledged write is in the image, and cmfs on the
# same mountpoint just works, over a dead mount or two.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/acked.sh
. "$LIB/acked.sh"

[ "$(id -u)" = 0 ] || skip "clearing a dead mount needs root or fusermount3"
killed() {
	kill -KILL "${PID[c]}"
	wait "${PID[c]}" 2>/dev/null || true
	unset "PID[c]"
	rm -f "$T"/?.pid # it could not
}

mkdir "$T/mnt"
for mode in $modes; do
	head -c 4M /dev/zero >"$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok mmap 1 3145728 65536
	ok poke 1 0 4096 m
	acked_start "$T/mnt/img"
	killed
	acked_wait >"$T/ends"
	cat "$T/ends"
	# Those whose own flags demand what the mode demands do not need the daemon. In
	# other modes they join the handle that is open, which the daemon serves.
	case $passthrough:$mode in
	auto:writeback) served=3 ;;
	auto:unsafe) served=2 ;; # not the one with O_DSYNC, which is not to flush
	*) served=0 ;;
	esac
	expect $served "$(grep -c stopped "$T/ends" || true)" "$mode: writers that went on"
	# EIO: of a durable write that waited for its flush at that moment.
	expect $((3 - served)) "$(grep -cE 'ENOTCONN|ECONNABORTED|EIO' "$T/ends" || true)" \
		"$mode: writers that ended so"
	case $passthrough:$mode in
	auto:writeback | auto:unsafe) ok write 1 2097152 4096 x ;; # by the kernel
	*) want ENOTCONN write 1 0 4096 x ;;
	esac
	for command in "fsync 1" "truncate 1 0" "cache 1 none" \
		"open 2 $T/mnt/img" "fallocate 1 punch 0 4096"; do
		# shellcheck disable=SC2086 # words
		want ENOTCONN $command
	done
	answer=$(op msync 1)
	case $passthrough:$mode:$answer in
	*:E*) ;;
	auto:writeback:* | auto:unsafe:*) ;; # the mapping is one of the host file
	*) fail "$mode: msync of what cannot be written: $answer" ;; esac
	timeout 30 stat "$T/mnt" 2>"$T/err" && fail "$mode: stat of a dead mount worked"
	grep -q "Transport endpoint is not connected" "$T/err" || fail "$(cat "$T/err")"
	acked_check "$T/img"

	# Again on the same mountpoint, with files of the dead mount still open.
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	fileop_stop
	acked_check "$T/mnt/img"
	echo again | dd of="$T/mnt/img" conv=notrunc status=none
	killed
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	expect again "$(head -n 1 "$T/mnt/img")"
	cmfs_stop c
	expect 0 "$(grep -c " $T/mnt " /proc/mounts || true)" "$mode: mounts that are left"
	rm "$T/img"
done

# A mount whose daemon is alive is not mounted over; a dead one is cleared away in
# the background too, by a relative path.
echo hello >"$T/img"
cmfs_start c "$T/img" "$T/mnt"
truncate -s 1M "$T/other" # the image itself is locked
! "$CMFS" "$T/other" "$T/mnt" 2>"$T/err" || fail "mounted over a live mount"
grep -q "mounted there already" "$T/err" || fail "$(cat "$T/err")"
expect 1 "$(grep -c " $T/mnt " /proc/mounts)" "mounts"
killed
cd "$T"
"$CMFS" -P pid img mnt/ 2>err || fail "$(cat err)"
expect hello "$(cat mnt/img)"
umount mnt
expect 0 "$(grep -c " $T/mnt " /proc/mounts || true)" "mounts that are left"
while [ -e pid ]; do
	sleep 0.05
done
cd /

# By a symbolic link; and with the image in the folder that is mounted over.
mkdir "$T/mnt/dir"
echo inner >"$T/mnt/dir/img"
ln -s mnt/dir "$T/link"
for at in "$T/link" "$T/mnt/dir"; do
	cmfs_start c "$T/mnt/dir/img" "$at"
	killed
	cmfs_start c "$T/mnt/dir/img" "$at"
	expect inner "$(cat "$T/mnt/dir/img")"
	cmfs_stop c
	expect 0 "$(grep -c " $T/mnt" /proc/mounts || true)" "$at: mounts that are left"
done
