#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The installed umount.fuse.cmfs, by all ways on which umount(8) runs it (as root it does
# not for a folder's absolute path, unless mount(8) has noted the mount): umount returns when the daemon has ended, and not
# before, also a user's; what is not durable is told, with status 32; a busy mount stays,
# one that is still mounted elsewhere is not waited for, nor what is lazy; a dead one goes.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"
# shellcheck source=../lib/user.sh
. "$LIB/user.sh"
# shellcheck source=../lib/system.sh
. "$LIB/system.sh"

[ "$(id -u)" = 0 ] || skip "umount(8) needs root"
system_install
mkdir "$T/mnt" "$T/mnt2"
head -c 64K /dev/urandom >"$T/img"
pid=""
mountpoint -q /sys/fs/fuse/connections || {
	mount -t fusectl none /sys/fs/fuse/connections
	track_mount /sys/fs/fuse/connections
}

up() { # ARG...
	"$CMFS" "$@" "$T/img" "$T/mnt"
	daemon_of pid "$T/mnt"
	echo written | dd of="$T/mnt/img" conv=notrunc status=none
}

running() {
	grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$pid/status"
}

gone() { # HOW
	! running || fail "$1: returned before the daemon's end"
	unset "PID[daemon-$pid]"
	! mounted "$T/mnt" || fail "$1: still mounted"
}

# Its last flush takes its time. The kernel's own unmount does not wait for it.
slow="flush:delay=100ms"
up -o fault=flush:delay=2s
umount -i "$T/mnt"
running || fail "the kernel's unmount waits: there is nothing to test"
daemon_gone "$pid"
for how in "-c $T/mnt" "$T/img" "-a -t fuse.cmfs" "-vrnc $T/mnt"; do # -c: as systemd
	up -o fault=$slow
	# shellcheck disable=SC2086 # words are meant
	umount $how
	gone "umount $how"
done
up -o fault=$slow
cd "$T"
umount mnt
gone "umount of a relative path"
for option in x-cmfs _netdev; do
	mount -t cmfs -o passthrough="$passthrough",fault=$slow,$option "$T/img" "$T/mnt"
	daemon_of pid "$T/mnt"
	umount "$T/mnt"
	gone "umount of one that mount -o $option has noted"
done

# In use: as it was, with umount's own words.
up
exec 9<"$T/mnt/img"
status=0
umount -c "$T/mnt" 2>"$T/err" || status=$?
expect 32 "$status" "status of a busy one"
grep -q "busy" "$T/err" || fail "busy: $(cat "$T/err")"
running || fail "busy: the daemon has ended"
umount -l "$T/mnt" # returns, though the daemon lives on
expect written "$(head -n 1 <&9)" "a file of a lazily unmounted one"
exec 9<&-
daemon_gone "$pid"

# Mounted twice: the first umount does not wait, the second one does.
up -o fault=$slow
mount --bind "$T/mnt" "$T/mnt2"
umount -c "$T/mnt2"
running || fail "a bind mount's end has ended the daemon"
mount --bind "$T/mnt" "$T/mnt2"
umount -c "$T/mnt"
running || fail "still bound: the daemon has ended"
umount -c "$T/mnt2"
gone "umount of the last one"

# What is not durable is told, once, and the mount is gone all the same.
up -o fault=flush:EIO
status=0
umount -c "$T/mnt" 2>"$T/err" || status=$?
expect 32 "$status" "status where the flush fails"
expect "cmfs: $T/mnt: not all of it is durable: Input/output error" "$(cat "$T/err")"
gone "umount with an error"

# A dead one; one whose end nobody can see; not one of ours to be found.
up
kill -KILL "$pid"
daemon_gone "$pid"
umount -c "$T/mnt"
! mounted "$T/mnt" || fail "a dead one is still mounted"
up
mkdir "$T/none"
mount --bind "$T/none" /sys/fs/fuse/connections
umount -c "$T/mnt"
umount /sys/fs/fuse/connections
daemon_gone "$pid"
status=0
/sbin/umount.fuse.cmfs 2>"$T/err" || status=$?
expect 1 "$status" "status of a wrong call"
grep -q "^cmfs: usage: umount.fuse.cmfs" "$T/err" || fail "a wrong call: $(cat "$T/err")"
for status in 0 "" "$$" "0 1" "-1 5" "$$ 1"; do # ids that are none of a daemon's
	mkdir -p "$T/plain"
	touch "$T/plain/f"
	setfattr -n user.cmfs.daemon -v "$status" "$T/plain"
	! timeout 20 /sbin/umount.fuse.cmfs "$T/plain" 2>"$T/err" || fail "'$status': unmounted"
done

# A user's own; root, whom such a mount does not let in, cannot wait for it.
user_dev
chmod 755 "$T"
mkdir "$T/u" "$T/u/mnt"
cp "$T/img" "$T/u/img"
chown -R 65534:65534 "$T/u"
cd /
user cmfs -o fault=$slow "$T/u/img" "$T/u/mnt"
daemon_of pid "$T/u/mnt"
echo written | user dd of="$T/u/mnt/img" conv=notrunc status=none
user umount "$T/u/mnt"
gone "a user's umount"
user cmfs "$T/u/img" "$T/u/mnt"
daemon_of pid "$T/u/mnt"
umount "$T/u/mnt"
daemon_gone "$pid"
