# shellcheck shell=bash disable=SC2154 # modes is mount.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# aio=: what can be had of it. Sourced after mount.sh.
#
#   aio_ways         threads, and of native and io_uring those that this kernel gives to
#                    this user
#   aio_modes WAY    the modes that it works in

aio_ways() {
	local way
	echo threads
	mkdir "$T/aio.probe"
	truncate -s 1M "$T/aio.img"
	for way in native io_uring; do
		if "$CMFS" -o cache=none,aio=$way "$T/aio.img" "$T/aio.probe" 2>"$T/aio.log"; then
			umount "$T/aio.probe"
			echo $way
		else
			grep -q "aio=$way cannot be had" "$T/aio.log" ||
				fail "aio=$way: $(cat "$T/aio.log")"
		fi
	done
	rmdir "$T/aio.probe"
	rm "$T/aio.img" "$T/aio.log"
}

aio_modes() {
	case $1 in
	native) echo none directsync ;;
	*) echo "$modes" ;;
	esac
}
