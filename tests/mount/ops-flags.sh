#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every kind of write and read call (O_SYNC, O_DSYNC, O_DIRECT, O_APPEND, O_TRUNC,
# RWF_DSYNC, RWF_SYNC, RWF_APPEND, vectors, F_SETFL; odd offsets, lengths and
# buffers; across and after the end; offsets no file can have) gives exact bytes
# and an exact size in every mode (P4, P9).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

mkdir "$T/mnt"
for mode in $modes; do
	head -c 500003 /dev/urandom >"$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	"$(helper io_checks)" "$T/mnt/img" "$T/img" "$T/wanted" || fail "cache=$mode"
	cmp "$T/wanted" "$T/img" || fail "cache=$mode: the host file while mounted"
	cmfs_stop c
	cmp "$T/wanted" "$T/img" || fail "cache=$mode: the image after unmount"
done
