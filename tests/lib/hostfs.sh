# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Host file systems whose device tells when it is flushed: in loop devices on a
# tmpfs, so that flushes cost little. Needs root. Sourced after mount.sh.
#
#   hostfs_make NAME TYPE     mounted on $T/NAME; TYPE: ext4, xfs, btrfs
#   hostfs_remove NAME        unmounted, its loop device detached
#   flushes NAME              flushes that its device has done so far
#   has_sync_flag FILE        is the host file's sync flag (chattr +S) on?
#   has_sync_note FILE        and cmfs's note that it was cmfs who set it?
#   wants COMMAND...          wait until the command succeeds: a handle that is
#                             closed is released a moment later; ! WORDS... waits
#                             until it does not

declare -A HOSTFS_LOOP=()

hostfs_make() {
	local device=""
	if [ ! -d "$T/hostfs" ]; then
		mkdir "$T/hostfs"
		mount -t tmpfs none "$T/hostfs"
		track_mount "$T/hostfs"
	fi
	truncate -s 400M "$T/hostfs/$1"
	loop_attach device "$T/hostfs/$1"
	HOSTFS_LOOP[$1]=${device#/dev/}
	mkdir "$T/$1"
	case $2 in
	ext4)
		mkfs.ext4 -q -E lazy_itable_init=0 "$device"
		mount -o commit=300 "$device" "$T/$1"
		;;
	xfs)
		mkfs.xfs -q "$device"
		mount "$device" "$T/$1"
		;;
	btrfs)
		mkfs.btrfs -q "$device"
		mount -o commit=300 "$device" "$T/$1"
		;;
	*) fail "a host file system of type $2?" ;;
	esac
	track_mount "$T/$1"
}

hostfs_remove() {
	umount "$T/$1"
	loop_detach "/dev/${HOSTFS_LOOP[$1]}"
	unset "HOSTFS_LOOP[$1]"
	rm "$T/hostfs/$1"
	rmdir "$T/$1"
}

flushes() {
	awk '{ print $16 }' "/sys/class/block/${HOSTFS_LOOP[$1]}/stat"
}

has_sync_flag() {
	local attributes
	attributes=$(lsattr -d "$1") || fail "lsattr $1"
	case ${attributes%% *} in
	*S*) return 0 ;;
	*) return 1 ;;
	esac
}

has_sync_note() {
	getfattr --absolute-names --only-values -n user.cmfs.syncflag "$1" >/dev/null 2>&1
}

wants() {
	local i not=0
	if [ "$1" = ! ]; then
		not=1
		shift
	fi
	for ((i = 0; i < 200; i++)); do
		if "$@"; then
			[ $not = 1 ] || return 0
		else
			[ $not = 0 ] || return 0
		fi
		sleep 0.05
	done
	return 1
}
