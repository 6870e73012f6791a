#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A switch that cannot be (P7, P10): to a direct mode on a host file system without
# O_DIRECT. It fails with EOPNOTSUPP; I/O goes on, and the old mode and its
# descriptor stay; the log names the file system and the modes that work. To a sync mode
# with a writer that the kernel serves: EBUSY, as this file system has no sync flag.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

[ "$(id -u)" = 0 ] || skip "mounting a ramfs needs root"
mkdir "$T/ram" "$T/mnt"
mount -t ramfs none "$T/ram"
track_mount "$T/ram"

for from in writeback writethrough unsafe; do
	truncate -s 1M "$T/ram/img"
	cmfs_start c -o cache=$from "$T/ram/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok write 1 0 4096 a
	before=$(fd_flags "${PID[c]}" "$T/ram/img")
	for to in none off directsync; do
		: >"$T/c.log"
		want EOPNOTSUPP cache 1 $to
		expect "$from" "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img")"
		expect "$before" "$(fd_flags "${PID[c]}" "$T/ram/img")" "$from: descriptors after"
		cmfs_log c
		expect 1 "$(wc -l <"$T/c.log")" "lines in the log"
		grep -aq "img.*ramfs.*O_DIRECT.*writeback, writethrough and unsafe" "$T/c.log" ||
			fail "the log does not name what is wrong and what would work"
		want "4096 a" read 1 0 4096
		ok write 1 4096 4096 b
		ok fsync 1
		want "4096 b" read 1 4096 4096
	done
	want EINVAL cache 1 nonsense
	expect "$from" "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img")"
	for to in writethrough unsafe writeback; do
		if [ $to = writethrough ] && served_by_kernel $from; then
			want EBUSY cache 1 $to
			expect $from "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img")"
		else
			want 0 cache 1 $to
		fi
	done
	fileop_stop
	cmfs_stop c
	rm "$T/ram/img"
done
