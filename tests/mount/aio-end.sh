#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The end while requests are in flight, by each way of aio=: SIGTERM ends with status 0 and
# every acknowledged write in the image (P12), and after SIGKILL it is, too (P11). Switches
# between the modes of the way are barriers under that load (P7).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/acked.sh
. "$LIB/acked.sh"
# shellcheck source=../lib/aio.sh
. "$LIB/aio.sh"

mkdir "$T/mnt"
for aio in $(aio_ways); do
	for signal in TERM KILL; do
		head -c 4M /dev/zero >"$T/img"
		cmfs_start c -o "cache=none,aio=$aio,passthrough=off" "$T/img" "$T/mnt"
		acked_start "$T/mnt/img"
		for mode in $(aio_modes "$aio") none; do
			setfattr -n user.cmfs.cache -v "$mode" "$T/mnt/img"
		done
		kill -$signal "${PID[c]}"
		case $signal in
		TERM) cmfs_wait c ;;
		KILL) cmfs_wait c 137 && umount -l "$T/mnt" && rm "$T/c.pid" ;;
		esac
		acked_wait
		acked_check "$T/img"
		! mounted "$T/mnt" || fail "aio=$aio, SIG$signal: still mounted"
		rm "$T/img"
	done
done
