#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Mappings in every mode (P9): shared stores are seen by read(), by writers, by
# other mappings and after msync in the host file; private ones are not; stores
# that nobody synced are in the image once it is unmounted, under every mode.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

mkdir "$T/mnt"
for mode in $modes; do
	head -c 1000003 /dev/urandom >"$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	"$(helper map_checks)" "$T/mnt/img" "$T/img" "$T/wanted" || fail "cache=$mode"
	cmfs_stop c
	cmp "$T/wanted" "$T/img" || fail "cache=$mode: the image after unmount"
done
