# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A block device as image: a loop device. Needs root. Sourced after mount.sh.
#
#   blkdev_make SIZE [OPTION...]   losetup with OPTIONs on $disk; the device's node is
#                                  $blkdev and another one $T/dev/img, so that it is
#                                  called img in the mount
#   disk=$T/disk                   may be set before, as to a file in the tmpfs $T/dev:
#                                  flushes cost less there, but the kernel forgets that
#                                  such a device can discard once it is to zero
#   blkdev_remove                  detach it, remove the file
#   blkdev_flushes                 flushes that the device has done so far
#   blkdev_stored                  KiB that the file has allocated
#   cached                         pages of the device in the host's page cache, by
#                                  fileop's handle 9, which blkdev_watch opens

blkdev="" disk=$T/disk

blkdev_make() {
	local size=$1
	shift
	if [ ! -d "$T/dev" ]; then # $T may be on a file system where nodes do nothing
		mkdir "$T/dev"
		mount -t tmpfs none "$T/dev"
		track_mount "$T/dev"
	fi
	truncate -s "$size" "$disk"
	loop_attach blkdev "$@" "$disk"
	mknod -m 600 "$T/dev/img" b "$(stat -c 0x%t "$blkdev")" "$(stat -c 0x%T "$blkdev")"
}

blkdev_remove() {
	loop_detach "$blkdev"
	rm "$disk" "$T/dev/img"
}

blkdev_flushes() {
	awk '{ print $16 }' "/sys/class/block/${blkdev#/dev/}/stat"
}

blkdev_stored() {
	du -k "$disk" | cut -f 1
}

blkdev_watch() {
	ok open 9 "$T/dev/img" rdonly
}

cached() {
	op cachestat 9
}
