#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The installed helpers of mount(8) and umount(8) on an image that is mounted over itself:
# by command and by fstab; umount returns when the daemon has ended, tells what is not
# durable, and clears a dead mount away.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"
# shellcheck source=../lib/system.sh
. "$LIB/system.sh"

[ "$(id -u)" = 0 ] || skip "mount(8) needs root"
system_install
mountpoint -q /sys/fs/fuse/connections || {
	mount -t fusectl none /sys/fs/fuse/connections
	track_mount /sys/fs/fuse/connections
}
own=passthrough=$passthrough
img=$T/img
echo "image" >"$img"
ln "$img" "$T/host"
pid=""

up() { # OPTIONS
	mount -t cmfs -o "$own,$1" "$img" "$img"
	daemon_of pid "$img"
}

gone() { # HOW
	! grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$pid/status" ||
		fail "$1: returned before the daemon's end"
	unset "PID[daemon-$pid]"
	! mounted "$img" || fail "$1: still mounted"
}

# What only the mount has: a flush that takes its time, or fails.
slow=fault=flush:delay=300ms
for how in "umount -c $img" "umount -i -l $img"; do
	up "cache=writeback,$slow"
	expect writeback "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$img")"
	echo "before $how" >"$img"
	$how
	case $how in
	*-i*) daemon_gone "$pid" ;;
	*) gone "$how" ;;
	esac
	expect "before $how" "$(cat "$img")"
done
up "_netdev,cache=none,$slow" # noted by mount(8)
umount "$img"
gone "umount of what is noted"

echo "$img $img cmfs $own,cache=directsync,nofail,x-cmfs 0 0" >"$T/fstab"
mount -a -T "$T/fstab"
mount -a -T "$T/fstab"
expect 1 "$(grep -c " $img fuse.cmfs " /proc/mounts)" "mounts"
daemon_of pid "$img"
expect directsync "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$img")"
umount "$img"
gone "umount of a line of fstab"

# Not all of it is durable: said, with status 32.
up fault=flush:EIO
echo lost >"$img"
status=0
umount -c "$img" 2>"$T/err" || status=$?
expect 32 "$status" "status of an umount whose flush fails"
grep -q "$img: not all of it is durable: Input/output error" "$T/err" || fail "$(cat "$T/err")"
gone "umount whose flush fails"

# A dead one.
up cache=none
kill -KILL "$pid"
daemon_gone "$pid"
umount "$img"
! mounted "$img" || fail "dead: still mounted"
up cache=none
kill -KILL "$pid"
daemon_gone "$pid"
up cache=none
umount -c "$img"
gone "umount after a kill"
