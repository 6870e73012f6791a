#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file that the kernel caches for the daemon is read ahead in requests of up to a
# megabyte, not of the kernel's 128 KiB, and reading it again costs no request.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

[ "$(id -u)" = 0 ] || skip "only root can have more read ahead"
reads() {
	grep -c "opcode: READ (" "$T/c.log" || true
}

mkdir "$T/mnt"
head -c 16M /dev/urandom >"$T/img"
# Cached in both runs: in writethrough passthrough serves no plain handle.
cmfs_start c -d -o cache=writethrough "$T/img" "$T/mnt"
bdi=/sys/class/bdi/$(mountpoint -d "$T/mnt")
[ -w "$bdi/read_ahead_kb" ] || skip "$bdi: no read_ahead_kb that could be set"
expect 1024 "$(cat "$bdi/read_ahead_kb")" "read_ahead_kb"
cmp "$T/img" "$T/mnt/img"
first=$(reads)
echo "16 MiB cost $first reads"
[ "$first" -ge 16 ] || fail "fewer than 16 requests of a megabyte: were they counted?"
[ "$first" -le 40 ] || fail "$first requests"
cmp "$T/img" "$T/mnt/img"
expect "$first" "$(reads)" "reads after a second look"
cmfs_stop c
