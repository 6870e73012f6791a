#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Neighbours' bytes (P9): eight processes write interleaved records of an odd
# length, twice over, while others punch, zero and fallocate elsewhere in the image
# and fsync it: no record is lost, though each shares its blocks with others'.
# And of a file that grows by odd records nobody ever sees half a one (where none
# crosses a page, as the host's own file systems show the size between pages), nor
# one go away again, however many look.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

records=$(helper records)
img=$T/mnt/img
count=1600 len=100
start=$(((count * len / 4096 + 2) * 4096)) # of the region that is punched
stop=$T/stop

# Keep a region beside the records busy until the writers have ended.
punch() {
	local i
	for ((i = 0; i < 100000; i++)); do
		[ ! -e "$stop" ] || return 0
		fallocate -z -o $((start + i * 777 % 100000)) -l 5001 "$img"
		fallocate -p -o $((start + i * 333 % 100000)) -l 4097 "$img"
		fallocate -o "$start" -l 100000 "$img"
		sync -d "$img"
	done
}

wait_all() {
	local pid
	for pid in "$@"; do
		wait "$pid" || fail "cache=$mode: a process failed"
	done
}

mkdir "$T/mnt"
"$records" print $count $len >"$T/wanted"
"$records" print 3000 103/4096 >"$T/appended"
for mode in $modes; do
	rm -f "$T/img"
	truncate -s 1000001 "$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	pids=()
	for ((i = 0; i < 8; i++)); do
		"$records" write "$img" $count $len 8 "$i" &
		pids+=($!)
	done
	punch &
	puncher=$!
	wait_all "${pids[@]}"
	touch "$stop"
	wait_all "$puncher"
	rm "$stop"
	cmp -n $((count * len)) "$T/wanted" "$img" || fail "cache=$mode: records in the mount"
	cmp -n $((count * len)) "$T/wanted" "$T/img" || fail "cache=$mode: records on the host"
	cmp -i $((count * len)) -n $((1000001 - count * len)) "$img" /dev/zero ||
		fail "cache=$mode: the rest is not zeroes"
	expect 1000001 "$(stat -c %s "$T/img")" "cache=$mode: size"
	cmfs_stop c
	cmp -n $((count * len)) "$T/wanted" "$T/img" || fail "cache=$mode: the image after unmount"

	: >"$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	pids=()
	for watch in watch watch watch-server; do
		"$records" $watch "$img" 3000 103/4096 &
		pids+=($!)
	done
	"$records" append "$img" 3000 103/4096
	wait_all "${pids[@]}"
	cmfs_stop c
	cmp "$T/appended" "$T/img" || fail "cache=$mode: the appended records"
done
