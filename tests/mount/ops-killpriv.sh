#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Who changes an image's bytes without being its owner drops its set-user-ID and
# set-group-ID bits, as on any file system, although the daemon, which does the
# writing, is root. FUSE_CAP_HANDLE_KILLPRIV_V2 makes that the daemon's duty.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

[ "$(id -u)" = 0 ] || skip "needs root to become another user"
chmod 755 "$T"
mkdir "$T/mnt"

# drops COMMAND...: run as nobody it succeeds, and the bits are gone
drops() {
	chmod 6777 "$T/mnt/img"
	expect 6777 "$(stat -c %a "$T/img")" "cache=$mode: chmod"
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@" || fail "cache=$mode: $*"
	expect 777 "$(stat -c %a "$T/img")" "cache=$mode: bits on the host after $*"
	expect 777 "$(stat --cached=never -c %a "$T/mnt/img")" "cache=$mode: bits in the mount after $*"
}

for mode in none writethrough; do
	head -c 100000 /dev/urandom >"$T/img"
	cmfs_start c -o allow_other,cache="$mode" "$T/img" "$T/mnt"
	drops dd if=/dev/zero of="$T/mnt/img" bs=4096 count=1 conv=notrunc status=none
	drops dd if=/dev/zero of="$T/mnt/img" bs=4096 count=1 conv=notrunc oflag=direct status=none
	drops truncate -s 5000 "$T/mnt/img"
	drops dd if=/dev/null of="$T/mnt/img" status=none # O_TRUNC
	cmfs_stop c
done
