#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fio with verification in every mode: small and mixed block sizes, aligned to
# anything or to nothing, buffered and O_DIRECT, synchronous and 32 deep, durable
# writes, two jobs on ranges of their own; and what it wrote is still right after
# mounting anew (P4, P9). Where the kernel serves O_DIRECT, what is unaligned is refused,
# and done without O_DIRECT: in none by the daemon, beside jobs that the kernel serves.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

fio --enghelp 2>/dev/null | grep -qw libaio || skip "fio has no libaio engine"

align=$(direct_align "$T")

# The jobs run at the same time, each on a region of its own.
write_jobs() { # O_DIRECT for those that are not aligned: 0 or 1
	cat >"$T/jobs.fio" <<-EOF
		[global]
		filename=$T/mnt/img
		size=4M
		verify=crc32c
		verify_fatal=1
		verify_state_save=0
		randseed=7
		ioengine=libaio

		[mixed 4k, deep, direct]
		rw=randrw
		bs=4k
		iodepth=32
		direct=1

		[mixed 4k, cached]
		offset=4M
		rw=randrw
		bs=4k
		ioengine=psync

		[ranges of sectors, deep, direct]
		offset=8M
		rw=randwrite
		bsrange=$sector-64k
		blockalign=$sector
		iodepth=32
		direct=1

		[split sizes, cached, fsync]
		offset=12M
		rw=randwrite
		bssplit=512/30:4k/30:64k/40
		blockalign=512
		ioengine=psync
		fsync=100

		[odd sizes, cached]
		offset=16777217
		rw=write
		bsrange=777-33333
		bs_unaligned
		ioengine=psync

		[odd sizes, deep]
		offset=21000001
		rw=write
		bsrange=777-33333
		bs_unaligned
		iodepth=32
		direct=$1

		[odd sizes, one by one]
		offset=25200003
		rw=write
		bsrange=777-33333
		bs_unaligned
		direct=$1

		[dsync]
		offset=30M
		size=2M
		rw=randwrite
		bsrange=1k-32k
		blockalign=1k
		ioengine=psync
		sync=dsync

		[two, direct]
		offset=32M
		rw=randrw
		bsrange=$sector-16k
		blockalign=$sector
		iodepth=8
		direct=1
		numjobs=2
		offset_increment=4M

		[blocks of 3k, deep, direct]
		offset=40M
		rw=randwrite
		bs=$((6 * sector))
		iodepth=32
		direct=1
	EOF
}

run() { # OPTION...
	fio --minimal "$@" "$T/jobs.fio" >"$T/fio.log" 2>&1 ||
		{ cat "$T/fio.log" && fail "cache=$mode: fio $*"; }
	! grep -iE 'verify:|bad' "$T/fio.log" || fail "cache=$mode: fio $*"
}

mkdir "$T/mnt"
for mode in $modes; do
	rm -f "$T/img"
	truncate -s 44M "$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	unaligned_direct=1 sector=512
	if served_by_kernel "$mode" direct && [ "$align" -gt 1 ]; then
		unaligned_direct=0
		[ "$align" -lt 512 ] || sector=$align
		refused_unaligned fio --minimal --filename="$T/mnt/img" --name=odd --rw=write \
			--offset=21000001 --bs=777 --size=7770 --direct=1
	fi
	write_jobs $unaligned_direct
	run
	cmfs_stop c
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	run --verify_only
	# The verification can fail.
	printf x | dd of="$T/mnt/img" bs=1 seek=42M oflag=seek_bytes conv=notrunc status=none
	! fio --minimal --verify_only "$T/jobs.fio" >"$T/fio.log" 2>&1 ||
		fail "cache=$mode: fio did not see a changed byte"
	cmfs_stop c
	expect $((44 << 20)) "$(stat -c %s "$T/img")" "cache=$mode: size"
done
