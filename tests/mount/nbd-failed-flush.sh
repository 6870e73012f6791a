#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A server whose FLUSH, or whose writes with FUA, fail once: from then on nothing is
# reported as durable, though the server does better again (P5). A failed write without
# FUA is its writer's business. In unsafe nothing is asked for (P3).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/nbd.sh
. "$LIB/nbd.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

mkdir "$T/mnt"
file=$T/mnt/disk
flush="[ ! -e $T/fail-flush ] || { echo EIO >&2; exit 1; }"
# shellcheck disable=SC2016,SC2034 # nbdkit's shell expands it; it is nbd.sh's
nbd_eval_check='case "$5" in *fua*) fua=1 ;; *) fua=0 ;; esac; [ ! -e '"$T"'/fail-$fua ] || { cat >/dev/null; echo ENOSPC >&2; exit 1; };'

start() { # MODE FUA
	rm -f "$T"/fail-*
	nbd_eval s can_flush='exit 0' can_fua="echo $2" flush="$flush"
	cmfs_start c -o cache="$1" "$(nbd_uri s disk)" "$T/mnt"
	fileop_start
	ok open 1 "$file" direct
	want 4096 write 1 0 4096 a
	want 0 fsync 1
}

finish() { # STATUS
	fileop_stop
	cmfs_stop c "$1"
	nbd_kill s
}

stays_failed() { # WHAT
	rm -f "$T"/fail-*
	for _ in 1 2; do
		want EIO fsync 1
		want EIO fdatasync 1
		want EIO write 1 4096 4096 x dsync
	done
	want "4096 a" read 1 0 4096
	expect 1 "$(grep -c '^cmfs: disk: .* failed: .*mounted anew' "$T/c.log")" "$1: log lines"
}

for mode in writeback none writethrough directsync; do
	start $mode native
	touch "$T/fail-flush"
	want EIO fsync 1
	stays_failed "cache=$mode: a flush failed"
	finish 1
done
for mode in writethrough directsync; do
	start $mode native
	touch "$T/fail-1"
	want ENOSPC write 1 4096 4096 b
	stays_failed "cache=$mode: a write with FUA failed"
	finish 1

	start $mode none # a write, and then its flush
	touch "$T/fail-flush"
	want EIO write 1 4096 4096 b
	stays_failed "cache=$mode: the flush behind a write failed"
	finish 1
done
for mode in none unsafe; do
	start $mode native
	touch "$T/fail-0"
	want ENOSPC write 1 4096 4096 b
	rm "$T/fail-0"
	want 4096 write 1 4096 4096 b
	want 0 fsync 1
	finish 0
done
start unsafe native
touch "$T/fail-flush" "$T/fail-1"
want 4096 write 1 4096 4096 b dsync
want 0 fsync 1
finish 0
