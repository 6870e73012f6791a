#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One content (P9), whatever way leads to it: mappings that outlive their handles, also
# over a switch; stores to a mapping and asynchronous O_DIRECT writes, beside unaligned
# writes to the same block; splice(2), beside writes that the kernel serves; a cache from
# before a switch, beside opens. And none of it makes an image fail (P5).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
# On a file system with a sync flag, so that every switch is possible.
hostfs_make host ext4
mkdir "$T/mnt"

check() { # MODE WHAT ARG...
	head -c 1M /dev/zero >"$T/host/img"
	cmfs_start c -o cache="$1" "$T/host/img" "$T/mnt"
	"$(helper coherence)" "$2" "$T/mnt/img" "${@:3}" || fail "cache=$1: ${*:2}"
	expect none "$(getfattr --absolute-names --only-values -n user.cmfs.error "$T/mnt/img")" \
		"cache=$1: ${*:2}: user.cmfs.error"
	cmfs_stop c
}

for mode in $modes; do
	for to in $modes; do
		check "$mode" outlive plain "$to"
	done
	check "$mode" outlive dsync "$mode"
	check "$mode" map-edges 1000
	check "$mode" map-edges 1000 direct
	# Where the kernel serves both, it is the host's kernel who does not keep them apart:
	# open(2) warns of mixing O_DIRECT with other I/O.
	if ! served_by_kernel "$mode" || ! served_by_kernel "$mode" direct; then
		check "$mode" aio-edges 4000
	fi
	check "$mode" splice
done
# A handle with a cache, and handles without one that come and go beside it.
check writeback opens 15000 none
