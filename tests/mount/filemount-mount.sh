#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file as mountpoint and mount(8), umount(8) and fstab, over the image itself: source
# and mountpoint are the same path; mount -a twice mounts once; umount by that path, by a
# relative one, through a symbolic link, lazily and by fusermount3; names with spaces,
# commas and backslashes. In a mount namespace of our own, see cli-mount.sh.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"

[ "$(id -u)" = 0 ] || skip "mount(8) needs root"
[ -x /sbin/mount.fuse ] || [ -x /sbin/mount.fuse3 ] || skip "fuse3's mount.fuse is not there"
[ -d /usr/local/sbin ] || skip "there is no /usr/local/sbin"
mkdir "$T/bin" "$T/w"
cp "$CMFS" "$T/bin/cmfs"
mount --bind "$T/bin" /usr/local/sbin
track_mount /usr/local/sbin
pid=""

make() { # FILE
	rm -f "$T/host"
	head -c 64K /dev/urandom >"$1"
	ln "$1" "$T/host"
}

mounts() {
	grep -F " $T/w/" /proc/self/mountinfo | grep -cF " fuse.cmfs " || true
}

check() { # FILE MODE
	expect 1 "$(mounts)" "mounts"
	expect "$1" "$(findmnt -n -o TARGET -M "$1")" "mountpoint"
	expect "$1" "$(findmnt -n -o SOURCE -M "$1")" "source"
	daemon_of pid "$1"
	expect "$2" "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$1")" "mode"
	echo "in $2" | dd of="$1" conv=notrunc status=none
	expect "in $2" "$(head -n 1 "$T/host")" "the image"
}

gone() {
	daemon_gone "$pid"
	expect 0 "$(mounts)" "mounts"
}

for img in "$T/w/img" "$T/w/with space" "$T/w/a,b" "$T/w/back\\slash" "$T/w/é"; do
	make "$img"
	mount -t fuse.cmfs -o cache=none,nofail,x-systemd.automount "$img" "$img"
	check "$img" none
	umount "$img"
	gone

	# As a line of fstab, with its escapes; by its path, and all of it.
	line=$(sed 's/\\/\\134/g; s/ /\\040/g' <<<"$img")
	echo "$line $line fuse.cmfs cache=writethrough,nofail 0 0" >"$T/fstab"
	mount -T "$T/fstab" "$img"
	check "$img" writethrough
	umount "$img"
	gone
	mount -a -T "$T/fstab"
	mount -a -T "$T/fstab"
	check "$img" writethrough
	umount "$img"
	gone
done

# By itself, in the background, and its ends.
cd "$T/w"
make img
ln -s img link
for end in "umount $T/w/img" "umount img" "umount link" "umount -l img" "fusermount3 -u img" \
	"fusermount3 -u -z $T/w/img" "kill -TERM" "kill -INT" "kill -HUP"; do
	"$CMFS" -o cache=directsync -P "$T/pid" "$T/w/img" "$T/w/img"
	check "$T/w/img" directsync
	expect "$pid" "$(cat "$T/pid")" "pid file"
	case $end in kill*) end+=" $pid" ;; esac
	$end
	gone
	[ ! -e "$T/pid" ] || fail "$end: the pid file is left"
	expect "in directsync" "$(head -n 1 img)" "$end: the image"
done

# Busy: umount refuses; lazily it goes on until the last handle is closed.
"$CMFS" -o cache=writethrough "$T/w/img" "$T/w/img"
check "$T/w/img" writethrough
exec 8<>img
! umount img 2>"$T/err" || fail "unmounted, though busy"
grep -q busy "$T/err" || fail "$(cat "$T/err")"
umount -l img
echo "behind it" >&8
exec 8>&-
gone
expect "behind it" "$(head -n 1 img)" "written after a lazy unmount"
cd /
