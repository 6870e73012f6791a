#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every kind of write and read call (O_SYNC, O_DSYNC, O_DIRECT, O_APPEND, O_TRUNC,
# RWF_DSYNC, RWF_SYNC, RWF_APPEND, vectors, F_SETFL; odd offsets, lengths and
# buffers; across and after the end; offsets no file can have) gives exact bytes
# and an exact size in every mode (P4, P9). O_DIRECT that the kernel serves refuses
# exactly what it refuses on the host; it is done without O_DIRECT then.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

mkdir "$T/mnt"
for mode in $modes; do
	head -c 500003 /dev/urandom >"$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	as_host=()
	for flags in direct direct,dsync; do
		! served_by_kernel "$mode" $flags || as_host+=("$flags")
	done
	"$(helper io_checks)" "$T/mnt/img" "$T/img" "$T/wanted" "${as_host[@]}" || fail "cache=$mode"
	cmp "$T/wanted" "$T/img" || fail "cache=$mode: the host file while mounted"
	cmfs_stop c
	cmp "$T/wanted" "$T/img" || fail "cache=$mode: the image after unmount"
done
