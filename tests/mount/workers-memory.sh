#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The memory that requests take: 32 at a time of a megabyte each, reads and writes, do
# not take 32 buffers. 8 are served at once, at most 3 more may be on their way, and
# there is the program itself; not even half of what a buffer for each would take.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

command -v fio >/dev/null || skip "no fio"
case $CMFS_VARIANT in asan | tsan) echo "a sanitizer takes memory of its own" && exit 0 ;; esac

mkdir "$T/mnt"
dd if=/dev/zero of="$T/img" bs=1M count=128 conv=fsync status=none
cmfs_start c -o cache=none,passthrough=off "$T/img" "$T/mnt"
for rw in read write randrw; do
	fio --name=x --filename="$T/mnt/img" --size=128M --rw=$rw --bs=1M --direct=1 \
		--ioengine=libaio --iodepth=32 --runtime=2 --time_based >"$T/fio.log" ||
		fail "$(cat "$T/fio.log")"
done
peak=$(awk '/^VmHWM:/ { print int($2 / 1024) }' "/proc/${PID[c]}/status")
threads=$(find "/proc/${PID[c]}/task" -mindepth 1 -maxdepth 1 | wc -l)
echo "peak: $peak MiB, $threads threads"
[ "$peak" -le 18 ] || fail "$peak MiB"
cmfs_stop c
