#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The installed mount.cmfs: mount -t cmfs and fuse.cmfs, lines of fstab by mountpoint and
# by mount -a, which is idempotent; options of mount, fstab and systemd are accepted;
# what fails comes back in one line and with mount(8)'s own exit status, and nothing is
# mounted then; a user's mount; findmnt and umount know what is there.
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

[ "$(id -u)" = 0 ] || skip "mount(8) needs root"
system_install
mkdir "$T/mnt" "$T/mnt2" "$T/u" "$T/u/mnt"
head -c 64K /dev/urandom >"$T/img"
cp "$T/img" "$T/b c"
own=passthrough=$passthrough # mount(8) starts the installed program, not the test's
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

# By hand, either type; mount.cmfs is really what ran.
for type in cmfs fuse.cmfs; do
	mount -t $type -o "$own,cache=none,nofail,x-systemd.automount,_netdev,comment=x" \
		"$T/img" "$T/mnt"
	check none
	expect "/sbin/mount.$type" "$(tr '\0' '\n' <"/proc/$pid/cmdline" | head -n 1)" "who mounted"
	expect "$T/img $T/mnt fuse.cmfs" "$(findmnt -rn -o SOURCE,TARGET,FSTYPE "$T/mnt")" "findmnt"
	echo written | dd of="$T/mnt/img" conv=notrunc status=none
	finish
	expect written "$(head -n 1 "$T/img")" "the image"
done
for options in defaults user,noauto,x-gvfs-hide,x-systemd.requires=/,X-mount.mkdir \
	lazytime,iversion,mand,silent,nostrictatime,norelatime,nodiratime,nosymfollow,owner,group; do
	mount -sn -t cmfs -o "$own,$options,cache=directsync" "$T/img" "$T/mnt"
	check directsync
	finish
done
(cd "$T" && mount -t cmfs -o "$own,ro" img mnt)
check writeback
grep -q " $T/mnt fuse.cmfs ro," /proc/mounts || fail "not mounted read-only"
umount "$T/img" # by its source
daemon_gone "$pid"
expect "cmfs -o rw,cache=none -- $T/img $T/mnt" \
	"$(mount -fv -t cmfs -o cache=none "$T/img" "$T/mnt")" "mount -fv"
! mounted "$T/mnt" || fail "mount -f: mounted"

# fstab, by the mountpoint, by the image, and all at once; twice makes no difference.
two=("$T/img $T/mnt cmfs $own,cache=writethrough,nofail,_netdev,x-systemd.mount-timeout=9 0 0"
	"$T/b\\040c $T/mnt2 fuse.cmfs $own,noauto,cache=none 0 0")
system_fstab "${two[@]}"
for what in mnt img; do
	mount "$T/$what"
	check writethrough
	finish
done
system_fstab "${two[0]}" "${two[1]/noauto,/}"
findmnt --verify >"$T/out" 2>&1 || { cat "$T/out" && fail "findmnt --verify"; }
mount -a
check writethrough
first=$pid
daemon_of pid "$T/mnt2"
mounts=$(cat /proc/mounts)
mount -a || fail "mount -a, once more: status $?"
expect "$mounts" "$(cat /proc/mounts)" "mount -a, once more"
umount -a -t fuse.cmfs
daemon_gone "$first"
daemon_gone "$pid"

# Failures: STATUS of mount(8), one line of ours that says it.
fails() { # STATUS PATTERN MOUNT-ARGUMENT...
	local status=0 wanted=$1 pattern=$2
	shift 2
	mount "$@" >"$T/out" 2>"$T/err" || status=$?
	expect "$wanted" "$status" "status of mount $*"
	expect 1 "$(grep -c '^cmfs: ' "$T/err")" "lines of mount $*: $(cat "$T/err")"
	grep -q "^cmfs: .*$pattern" "$T/err" || fail "mount $*: $(cat "$T/err")"
	! mounted "$T/mnt" || fail "mount $*: mounted all the same"
}
for type in cmfs fuse.cmfs; do
	fails 1 "cache=quick.*writeback" -t $type -o cache=quick "$T/img" "$T/mnt"
	fails 1 "unknown option 'nonsense=1'" -t $type -o nonsense=1 "$T/img" "$T/mnt"
	fails 1 "unknown option 'nonsense=1'" -s -t $type -o nonsense=1 "$T/img" "$T/mnt"
	fails 1 "cache=quick" -f -t $type -o cache=quick "$T/img" "$T/mnt"
	fails 32 "missing: .*No such file" -t $type "$T/missing" "$T/mnt"
	fails 32 "is a directory" -t $type "$T/u" "$T/mnt"
done
fails 1 "type cmfs.raw" -t cmfs.raw "$T/img" "$T/mnt"
fails 1 "-N /.*nsenter" -N /proc/self/ns/mnt -t cmfs "$T/img" "$T/mnt"
system_fstab "$T/missing $T/mnt cmfs $own,nofail 0 0" "$T/img $T/mnt2 cmfs $own 0 0"
fails 64 "missing: .*No such file" -a
daemon_of pid "$T/mnt2"
umount "$T/mnt2"
daemon_gone "$pid"
mount -t cmfs -o "$own" "$T/img" "$T/mnt"
daemon_of pid "$T/mnt"
status=0
mount -o remount,cache=none "$T/mnt" 2>"$T/err" || status=$?
expect 1 "$status" "status of a remount"
grep -q '^cmfs: remount: ' "$T/err" || fail "a remount: $(cat "$T/err")"
check writeback
finish

# A line with `user`: mounted by nobody, who may, and by no other.
user_dev
chmod 755 "$T"
chown 65534:65534 "$T/u" "$T/u/mnt"
cp "$T/img" "$T/u/img"
chown 65534:65534 "$T/u/img"
system_fstab "$T/u/img $T/u/mnt cmfs user,noauto,cache=none 0 0"
cd /
user mount "$T/u/mnt" || fail "a user's mount"
daemon_of pid "$T/u/mnt"
expect none "$(user getfattr --absolute-names --only-values -n user.cmfs.cache "$T/u/mnt/img")"
expect 65534 "$(stat -c %u "/proc/$pid")" "the daemon's user"
user umount "$T/u/mnt"
daemon_gone "$pid"
chmod 000 "$T/u/img"
status=0
user mount "$T/u/mnt" 2>"$T/err" || status=$?
expect 32 "$status" "status of a mount that the user may not make"
grep -q "^cmfs: .*img: .*Permission denied" "$T/err" || fail "$(cat "$T/err")"
