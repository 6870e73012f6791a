#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is done to one of two images of a mount is done to that one: a switch drops the
# kernel's pages of the image that is switched and of no other (P9), an unmount flushes
# both (P12).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/mnt"
for h in 1 2; do
	hostfs_make host$h ext4 # each on a device of its own
	head -c 1M /dev/zero >"$T/host$h/img$h"
	sync -f "$T/host$h"
done

# Plain handles in writethrough are those that the kernel caches.
cmfs_start c -o cache=writethrough "$T/host1/img1" "$T/host2/img2" "$T/mnt"
fileop_start
for h in 1 2; do
	ok open $h "$T/mnt/img$h"
	want "65536 0" read $h 0 65536
done
before=$(op cachestat 1)
[ "$before" != ENOSYS ] || skip "the kernel has no cachestat(2)"
[ "$before" -ge 16 ] || fail "$before pages are cached of what was read"
ok cache 2 writeback
expect 0 "$(op cachestat 2)" "pages of the image that was switched"
expect "$before" "$(op cachestat 1)" "pages of the other one"
ok cache 1 writeback
expect 0 "$(op cachestat 1)" "pages of the first image, when it was switched"

for h in 1 2; do
	ok write $h 0 4096 a
done
fileop_stop
before=("" "$(flushes host1)" "$(flushes host2)")
cmfs_stop c
for h in 1 2; do
	[ "$(flushes host$h)" -gt "${before[h]}" ] || fail "image $h is not flushed at the unmount"
done
