#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Durability as the disk sees it, whatever aio= does the writing: in sync modes each write
# flushes the device (P1), in the others those that ask for it and no others (P4), and in
# unsafe none (P3).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"
# shellcheck source=../lib/aio.sh
. "$LIB/aio.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
hostfs_make host ext4
mkdir "$T/mnt"

N=10
few=3 # were the file system to commit its journal by itself
count() { # AT-LEAST AT-MOST NAME COMMAND...; N times
	local least=$1 most=$2 name=$3 before after i
	shift 3
	before=$(flushes host)
	for ((i = 0; i < N; i++)); do
		ok "$@"
	done
	after=$(($(flushes host) - before))
	echo "aio=$aio, $mode, $N times $name: $after flushes"
	if [ "$after" -lt "$least" ] || [ "$after" -gt "$most" ]; then
		fail "aio=$aio, $mode, $name: $after flushes, wanted $least to $most"
	fi
}

for aio in $(aio_ways); do
	for mode in $(aio_modes "$aio"); do
		durable="$N 1000000"
		case $mode in
		writethrough | directsync) plain=$durable ;;
		unsafe) plain="0 $few" durable="0 $few" ;;
		*) plain="0 $few" ;;
		esac
		rm -f "$T/host/img"
		head -c 4M /dev/zero >"$T/host/img"
		sync -f "$T/host"
		cmfs_start c -o "cache=$mode,aio=$aio,passthrough=off" "$T/host/img" "$T/mnt"
		fileop_start
		ok open 1 "$T/mnt/img" direct
		ok open 2 "$T/mnt/img" direct dsync
		ok write 1 0 4096 x # what the mount itself owes the file system
		ok fsync 1
		# shellcheck disable=SC2086 # two arguments each
		{
			count $plain write write 1 0 4096 a
			count $plain "1 MiB" write 1 0 1048576 b
			count $durable RWF_DSYNC write 1 4096 4096 c dsync
			count $durable RWF_SYNC write 1 4096 4096 d sync
			count $durable "1 MiB, RWF_DSYNC" write 1 0 1048576 e dsync
			count $durable O_DSYNC write 2 4096 4096 f
		}
		fileop_stop
		cmfs_stop c
	done
done
