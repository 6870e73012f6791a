#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fio with verification by each way of aio= in each of its modes, all through the daemon:
# small and larger than a part, aligned and not, one by one and 16 deep; and what it wrote
# is still right after mounting anew (P9).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/aio.sh
. "$LIB/aio.sh"

fio --enghelp 2>/dev/null | grep -qw libaio || skip "fio has no libaio engine"

cat >"$T/jobs.fio" <<-EOF
	[global]
	filename=$T/mnt/img
	verify=crc32c
	verify_fatal=1
	verify_state_save=0
	randseed=7
	ioengine=libaio

	[4k, deep, direct]
	size=2M
	rw=randrw
	bs=4k
	iodepth=16
	direct=1

	[parts, direct]
	offset=2M
	size=4M
	rw=write
	bs=1M
	direct=1

	[parts with edges]
	offset=6300001
	size=4M
	rw=write
	bsrange=600k-1m
	bs_unaligned
	direct=1

	[odd sizes, deep]
	offset=11000001
	size=1M
	rw=write
	bsrange=777-33333
	bs_unaligned
	iodepth=16
	direct=1

	[dsync]
	offset=12M
	size=512k
	rw=randwrite
	bsrange=1k-32k
	blockalign=1k
	ioengine=psync
	sync=dsync
EOF

run() { # OPTION...
	fio --minimal "$@" "$T/jobs.fio" >"$T/fio.log" 2>&1 ||
		{ cat "$T/fio.log" && fail "aio=$aio, cache=$mode: fio $*"; }
	! grep -iE 'verify:|bad' "$T/fio.log" || fail "aio=$aio, cache=$mode: fio $*"
}

mkdir "$T/mnt"
for aio in $(aio_ways); do
	[ "$aio" != threads ] || continue # tools-fio.sh
	for mode in $(aio_modes "$aio"); do
		rm -f "$T/img"
		truncate -s 13M "$T/img"
		cmfs_start c -o "cache=$mode,aio=$aio,passthrough=off" "$T/img" "$T/mnt"
		run
		cmfs_stop c
		cmfs_start c -o "cache=$mode,aio=threads,passthrough=off" "$T/img" "$T/mnt"
		run --verify_only
		cmfs_stop c
		expect $((13 << 20)) "$(stat -c %s "$T/img")" "aio=$aio, cache=$mode: size"
	done
done
