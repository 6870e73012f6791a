#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# mount(8) and fstab: options meant for mount, fstab or systemd are swallowed, ours
# reach cmfs, its exit status reaches the caller, umount ends the daemon; flags such
# as ro hold. mount(8) drops PATH, so cmfs is put where a shell looks by itself, in a
# mount namespace of our own.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"

[ "$(id -u)" = 0 ] || skip "mount(8) needs root"
[ -x /sbin/mount.fuse ] || [ -x /sbin/mount.fuse3 ] || skip "fuse3's mount.fuse is not there"
[ -d /usr/local/sbin ] || skip "there is no /usr/local/sbin"
mkdir "$T/mnt" "$T/bin"
cp "$CMFS" "$T/bin/cmfs"
mount --bind "$T/bin" /usr/local/sbin
track_mount /usr/local/sbin
head -c 64K /dev/urandom >"$T/img"
pid=""

check() { # MODE
	mounted "$T/mnt" || fail "mount returned, but there is no mount"
	daemon_of pid "$T/mnt"
	expect "$1" "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img")" "mode"
	cmp "$T/img" "$T/mnt/img"
}

finish() {
	umount "$T/mnt"
	daemon_gone "$pid"
}

mount -t fuse.cmfs -o cache=none,nofail,x-systemd.automount,_netdev,comment=x "$T/img" "$T/mnt"
check none
echo written | dd of="$T/mnt/img" conv=notrunc status=none
finish
expect written "$(head -n 1 "$T/img")"

mount -t fuse.cmfs "$T/img" "$T/mnt"
check writeback
finish

mount -t fuse.cmfs -o defaults,noauto,nofail,user,x-gvfs-hide,x-systemd.requires=/,cache=directsync \
	"$T/img" "$T/mnt"
check directsync
finish

# fstab, by the mountpoint only.
for options in cache=writethrough defaults,cache=writethrough,nofail,_netdev \
	rw,noauto,cache=writethrough,comment=image,x-systemd.mount-timeout=10,nosuid,nodev,noatime; do
	echo "$T/img $T/mnt fuse.cmfs $options 0 0" >"$T/fstab"
	mount -T "$T/fstab" "$T/mnt"
	check writethrough
	finish
done

# ro: neither the mount nor the image is written.
sum=$(sha256sum <"$T/img")
mount -t fuse.cmfs -o ro,cache=directsync "$T/img" "$T/mnt"
check directsync
grep -q " $T/mnt fuse.cmfs ro," /proc/mounts || fail "not mounted read-only"
expect 02150000 "$(fd_flags "$pid" "$T/img" | sed 's/^0*\(2[0-7]*\)$/0\1/')" "read-only descriptor"
! dd if=/dev/zero of="$T/mnt/img" count=1 conv=notrunc status=none 2>/dev/null || fail "written"
finish
expect "$sum" "$(sha256sum <"$T/img")" "a read-only image"

# A failure arrives, and in words.
for options in cache=quick nonsense=1; do
	status=0
	mount -t fuse.cmfs -o $options "$T/img" "$T/mnt" 2>"$T/err" || status=$?
	[ $status != 0 ] || fail "$options: mount said nothing of it"
	grep -q "cmfs: .*$options" "$T/err" || fail "$options: $(cat "$T/err")"
	! mounted "$T/mnt" || fail "$options: mounted all the same"
done
status=0
mount -t fuse.cmfs -o cache=none "$T/missing" "$T/mnt" 2>"$T/err" || status=$?
[ $status != 0 ] || fail "a missing image: mount said nothing of it"
grep -q "missing" "$T/err" || fail "a missing image: $(cat "$T/err")"
! mounted "$T/mnt" || fail "mounted all the same"

# One upon another, as mount(8) allows, and away again.
mount -t fuse.cmfs -o cache=none "$T/img" "$T/mnt"
check none
finish
! mounted "$T/mnt" || fail "still mounted"
