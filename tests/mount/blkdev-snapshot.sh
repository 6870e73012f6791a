#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A block device with an overlay: it is read without a claim on it, so that one that is
# mounted can be tried out, and does not change. A commit claims it: it is refused while
# somebody else has the device, and leaves it unclaimed again.
#
# In a namespace of its own: a copy of the mount in somebody else's would keep the device.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/blkdev.sh
. "$LIB/blkdev.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/mnt" "$T/fs"
img=$T/mnt/img

commit() {
	setfattr -n user.cmfs.commit -v now "$img"
}

blkdev_make 8389120 # not of whole blocks of the overlay
mkfs.ext4 -q -L marked "$blkdev"
mount "$blkdev" "$T/fs"
track_mount "$T/fs"
sync -f "$T/fs"
sum=$(sha256sum <"$blkdev")
cmfs_start c -o snapshot=on "$T/dev/img" "$T/mnt"
e2label "$img" changed
expect changed "$(e2label "$img")" "the label in the overlay"
commit 2>"$T/error" && fail "committed to a device that is mounted"
grep "img: user.cmfs.commit not changed:" "$T/c.log" | grep -qF "is mounted on $T/fs" ||
	fail "the log does not say who has the device: $(cat "$T/c.log")"
expect changed "$(e2label "$img")" "the label after a commit that was refused"
expect "$sum" "$(sha256sum <"$blkdev")" "a device that is mounted"
cmfs_stop c
umount "$T/fs"
expect marked "$(e2label "$blkdev")" "the device's label"

for mode in $modes; do
	sum=$(sha256sum <"$blkdev")
	cp "$blkdev" "$T/wanted"
	cmfs_start c -o "snapshot=on,cache=$mode" "$T/dev/img" "$T/mnt"
	fileop_start
	ok open 1 "$img"
	ok open 2 "$T/wanted"
	for h in 1 2; do
		ok write $h 5000000 5000 a
		ok write $h 8388800 320 b
		ok fallocate $h punch 1000000 100000
	done
	want ENOSPC write 1 8389120 10 c
	want EINVAL truncate 1 4096
	expect 8389120 "$(stat -c %s "$img")" "$mode: size"
	expect "$sum" "$(sha256sum <"$blkdev")" "$mode: the device before the commit"
	commit
	fileop_stop
	cmp "$T/wanted" "$img" || fail "$mode: the mount after the commit"
	cmp "$T/wanted" "$blkdev" || fail "$mode: the device"
	mkfs.ext4 -q -F "$blkdev" || fail "$mode: still claimed after the commit"
	cmfs_stop c
done
