#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Live switching under load (P7): fio writes, reads back and verifies through cached,
# O_DIRECT and mmap jobs while the mode goes through all 25 switches, four times;
# then with a single thread (-s), once. No request fails, nothing is torn or lost,
# nothing hangs.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/switch.sh
. "$LIB/switch.sh"

which fio >/dev/null || skip "fio is not there"
mkdir "$T/mnt"

# Each round verifies all that it wrote; rounds go on until the switching is done.
# The mmap job has the file's start, as fio's mmap engine forgets about --offset.
fio_until() { # STOP-FILE
	local round=0
	while [ ! -e "$1" ]; do
		round=$((round + 1))
		timeout 240 fio --output-format=terse --filename="$T/mnt/img" --size=4m \
			--rw=randrw --bsrange=512-16k --blockalign=512 --randseed=$round \
			--verify=crc32c --verify_fatal=1 --verify_backlog=64 --verify_state_save=0 \
			--fsync=50 --fallocate=none \
			--name=map --ioengine=mmap --offset=0 --bsrange=4k-16k --blockalign=4k \
			--name=direct --ioengine=libaio --iodepth=16 --direct=1 --offset=4m \
			--name=cached --ioengine=libaio --iodepth=16 --direct=0 --offset=8m \
			--name=sync --ioengine=psync --sync=1 --direct=1 --offset=12m \
			>"$T/fio" 2>&1 || { cat "$T/fio" && return 1; }
		echo . >>"$T/rounds"
	done
}

run() { # ROUNDS CMFS-ARGUMENT...
	local rounds=$1 i mode switches=0
	shift
	truncate -s 16M "$T/img"
	: >"$T/rounds"
	cmfs_start c -o cache=writeback "$@" "$T/img" "$T/mnt"
	fio_until "$T/stop" &
	PID["fio"]=$!
	: >"$T/fio.log"
	for ((i = 0; i < rounds; i++)); do
		for mode in $all_switches; do
			timeout 120 setfattr -n user.cmfs.cache -v "$mode" "$T/mnt/img" ||
				fail "switch number $switches, to $mode"
			switches=$((switches + 1))
			sleep 0.05
		done
	done
	touch "$T/stop"
	wait "${PID["fio"]}" || fail "fio"
	unset "PID[fio]"
	rm "$T/stop"
	echo "${*:-default}: $switches switches during $(wc -l <"$T/rounds") rounds of fio"
	cmfs_stop c
	rm "$T/img"
}

run 4
run 1 -s
