#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon of a mount on a file may die (P11): the path fails with ENOTCONN, nothing
# that was acknowledged is lost, and the same command again works, where the image lies
# below its own dead mount, too; by a relative path and through a symbolic link; over
# two dead mounts; not over a live one.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"
# shellcheck source=../lib/acked.sh
. "$LIB/acked.sh"

[ "$(id -u)" = 0 ] || skip "clearing a dead mount needs root or fusermount3"
killed() { # NAME
	kill -KILL "${PID[$1]}"
	wait "${PID[$1]}" 2>/dev/null || true
	unset "PID[$1]"
	rm -f "$T"/?.pid # it could not
}

mounts() {
	grep -cF " $T/" /proc/mounts || true
}

img=$T/img
head -c 4M /dev/zero >"$img"
ln "$img" "$T/host"
ln -s img "$T/link"
for mode in $modes; do
	dd if=/dev/zero of="$img" bs=4M count=1 conv=notrunc status=none
	cmfs_start c -o cache="$mode" "$img" "$img"
	acked_start "$img"
	killed c
	acked_wait >/dev/null
	timeout 30 stat "$img" 2>"$T/err" && fail "$mode: stat of a dead mount worked"
	grep -q "Transport endpoint is not connected" "$T/err" || fail "$(cat "$T/err")"
	cmfs_start c -o cache="$mode" "$img" "$img"
	acked_check "$img"
	acked_check "$T/host"
	cmfs_stop c
	expect 0 "$(mounts)" "$mode: mounts that are left"
done

# A live one is not mounted over, whatever name it is called by.
cmfs_start c "$img" "$img"
for name in "$img" "$T/link" "$T/./img"; do
	! "$CMFS" "$T/host" "$name" 2>"$T/err" || fail "mounted over a live mount"
	expect "cmfs: $img: a cmfs is mounted there already (umount it first; setfattr switches its mode)" \
		"$(cat "$T/err")"
done
! "$CMFS" "$img" "$img" 2>"$T/err" || fail "mounted over a live mount"
grep -q "mounted there already" "$T/err" || fail "$(cat "$T/err")"
expect 1 "$(mounts)" "mounts"
killed c

# Relative, in the background; and through a symbolic link.
cd "$T"
pid=""
echo hello | dd of=host conv=notrunc status=none
for name in img link ./img; do
	"$CMFS" -P "$T/pid" "$name" "$name" 2>err || fail "$name: $(cat err)"
	daemon_of pid "$name"
	expect hello "$(head -n 1 img)"
	expect hello "$(head -n 1 link)"
	kill -KILL "$pid"
	daemon_gone "$pid"
	rm pid
	expect 1 "$(mounts)" "$name: mounts"
done

# Two dead ones, one upon the other.
cd /
cmfs_start c "$img" "$img"
mount --bind "$img" "$img"
killed c
expect 2 "$(mounts)" "mounts"
cmfs_start c "$img" "$img"
expect 1 "$(mounts)" "mounts"
expect hello "$(head -n 1 "$img")"
cmfs_stop c
expect 0 "$(mounts)" "mounts that are left"

# A mount whose first image lies on one that is dead is not dead itself.
truncate -s 1M "$T/other.raw"
mkdir "$T/both"
cmfs_start c "$img" "$img"
cmfs_start both "$img" "$T/other.raw" "$T/both"
killed c
! stat -f "$T/both" >/dev/null 2>"$T/err" || fail "stat -f: the image is gone"
! "$CMFS" -f "$T/other.raw" "$T/both" 2>"$T/err" || fail "mounted over one that is alive"
grep -q "mounted there already" "$T/err" || fail "$(cat "$T/err")"
[ -e "$T/both/other.raw" ] || fail "the mount that was alive is gone"
umount "$T/both"
wait "${PID[both]}" || true # its first image cannot be flushed any more
unset "PID[both]"
umount "$img"
