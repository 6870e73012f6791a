#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A write that is in flight when the daemon is killed has ended, one way or the other, when
# the daemon has: it does not land on what the next mount has acknowledged (P11), by each
# way of aio=. The device is slow as the image behind it is in another cmfs.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/aio.sh
. "$LIB/aio.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/outer" "$T/mnt"

block() { # BYTE: a block of them
	head -c 4096 /dev/zero | tr '\0' "$1"
}

for aio in $(aio_ways); do
	truncate -s 1M "$T/img"
	cmfs_start outer -o cache=none,passthrough=off,fault=on "$T/img" "$T/outer"
	dev=""
	loop_attach dev --direct-io=on "$T/outer/img"
	file=$T/mnt/$(basename "$dev")
	cmfs_start c -o "cache=none,aio=$aio" "$dev" "$T/mnt"
	setfattr -n user.cmfs.fault -v write:delay=2s "$T/outer/img"
	block b | dd of="$file" oflag=direct bs=4096 conv=notrunc status=none 2>/dev/null &
	writer=$!
	sleep 0.5
	kill -KILL "${PID[c]}"
	cmfs_wait c 137
	umount -l "$T/mnt"
	rm -f "$T/c.pid"
	setfattr -n user.cmfs.fault -v off "$T/outer/img" &
	fault=$!
	cmfs_start c -o cache=none "$dev" "$T/mnt"
	block c | dd of="$file" oflag=direct bs=4096 conv=notrunc,fsync status=none
	wait "$writer" && fail "aio=$aio: the write was not in flight"
	wait "$fault"
	sleep 2
	block c | cmp -n 4096 - "$file" || fail "aio=$aio: what was acknowledged is lost"
	cmfs_stop c
	loop_detach "$dev"
	cmfs_stop outer
	rm "$T/img"
done
