#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk in a qcow2 image of an unprivileged user: mounted, written, switched, unmounted,
# by a qemu-nbd with this user's rights; nothing is left of it when cmfs is killed; what the
# user may not write to is refused. In a mount namespace of our own, as /dev/fuse may be for
# root alone.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/user.sh
. "$LIB/user.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"
# shellcheck source=../lib/format.sh
. "$LIB/format.sh"

[ "$(id -u)" = 0 ] || skip "becoming another user needs root"
[ -u "$(command -v fusermount3)" ] || skip "there is no set-user-ID fusermount3"

mkdir "$T/u" "$T/u/mnt"
user_dev
chmod 755 "$T"
cp "$CMFS" "$T/cmfs"
chown 65534:65534 "$T/u" "$T/u/mnt"
user qemu-img create -q -f qcow2 "$T/u/img" 1M
user head -c 300000 /dev/urandom >"$T/data"
cd "$T/u"
drive=file=img,format=qcow2 mnt=$T/u/mnt pid="" nbd=""

user "$T/cmfs" --drive "$drive" "$mnt" || fail "mount"
daemon_of pid "$mnt"
PID[c]=$pid
qemu_nbd_of nbd c
expect 65534 "$(stat -c %u "/proc/$nbd")" "qemu-nbd's user"
user dd if="$T/data" of="$mnt/img" bs=64k conv=notrunc,fsync status=none
user setfattr -n user.cmfs.cache -v directsync "$mnt/img"
user cmp -n 300000 "$mnt/img" "$T/data" || fail "content after a switch"
qemu_nbd_of nbd c
user fusermount3 -u "$mnt"
daemon_gone "$pid"
gone "$nbd"
user qemu-img check -q img

user "$T/cmfs" --drive "$drive" "$mnt" || fail "mount again"
daemon_of pid "$mnt"
PID[c]=$pid
qemu_nbd_of nbd c
user cmp -n 300000 "$mnt/img" "$T/data" || fail "content after a remount"
kill -KILL "$pid"
daemon_gone "$pid"
gone "$nbd"
user fusermount3 -u "$mnt"

chown 0:0 img
chmod 644 img
! user "$T/cmfs" --drive "$drive" "$mnt" 2>"$T/err" || fail "opened for writing what is not to be"
cat "$T/err"
grep -q "img: cannot open for writing: Permission denied (-o ro" "$T/err" || fail "other words"
user "$T/cmfs" --drive "$drive,readonly" "$mnt" || fail "read-only"
daemon_of pid "$mnt"
user cmp -n 300000 "$mnt/img" "$T/data" || fail "content, read-only"
user fusermount3 -u "$mnt"
daemon_gone "$pid"
unset "PID[c]"
cd /
