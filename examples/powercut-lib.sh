# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the power-cut examples share: a machine with one disk, which is an image with
# an ext4 file system in a cmfs mount with -o powercut=on. Source it after lib.sh, in
# the work folder.
#
#   machine_make MODE    a new disk, and its cmfs mount in that mode
#   boot                 mount the disk's file system on fs/; fails if that cannot be done
#   power_cut SPEC       cut the power: everything that uses the disk fails
#   halt                 let go of fs/ and of what was the disk: before the next boot
#   machine_remove       end the mount; the disk stays as disk.raw
#   is_lost LIST         print those lines of the file LIST, "SHA256  PATH" as sha256sum
#                        has them, that are not so in fs/
loop=

machine_need() {
	need_root
	need losetup mkfs.ext4 e2fsck setfattr getfattr sha256sum setsid
	mkdir mnt fs
	machine=$PWD # at the end the script is elsewhere
	defer machine_remove
}

machine_make() { # MODE
	rm -f disk.raw
	truncate -s 64M disk.raw
	mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 disk.raw
	cmfs -o powercut=on,cache="$1" -P cmfs.pid disk.raw mnt
}

boot() {
	loop=$(losetup --show -f mnt/disk.raw) || return 1
	# It first replays its journal.
	mount -o noatime "$loop" fs 2>mount.errors
}

power_cut() { # SPEC
	setfattr -n user.cmfs.powercut -v "$1" mnt # on the folder: amid writes and flushes, too
}

let_go() { # DIR
	! grep -qF " $1 " /proc/mounts || release "$1" || unmount "$1"
}

halt() {
	let_go "$machine/fs" 2>/dev/null
	[ -z "$loop" ] || detach "$loop"
	loop=
}

machine_remove() {
	halt
	let_go "$machine/mnt"
	wait_gone "$machine/cmfs.pid"
}

is_lost() { # LIST
	(cd fs && sha256sum --check --quiet - 2>/dev/null) <"$1" | sed 's/: FAILED.*//' || true
}
