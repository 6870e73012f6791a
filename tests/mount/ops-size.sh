#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# truncate in every mode (P9): the size is exact to the byte in the mount and on
# the host, what was cut off comes back as zeroes, also where a write left an odd
# end, and stat tells what it tells of the host file. Where the kernel serves O_DIRECT,
# what is unaligned is refused, and done without O_DIRECT.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

img=$T/mnt/img
wanted=$T/wanted

# The image is the model: in the mount (by both kinds of reads) and on the host.
same() {
	local f size
	size=$(stat -c %s "$wanted")
	for f in "$img" "$T/img"; do
		expect "$size" "$(stat -c %s "$f")" "cache=$mode: $1: size of $f"
		cmp "$wanted" "$f" || fail "cache=$mode: $1: $f"
	done
	dd if="$img" iflag=direct bs=64K status=none | cmp - "$wanted" || fail "cache=$mode: $1: direct"
}

resize() {
	truncate -s "$1" "$wanted"
	truncate -s "$1" "$img"
	same "truncate -s $1"
}

# write OFFSET LEN [OFLAG]
write() {
	local at=$1 len=$2 flag=${3:-nonblock}
	head -c "$len" /dev/urandom >"$T/data"
	dd if="$T/data" of="$wanted" bs="$len" seek="$at" oflag=seek_bytes conv=notrunc status=none
	if [ "$flag" = direct ] && served_by_kernel "$mode" direct &&
		[ $((at % align + len % align)) != 0 ]; then
		refused_unaligned dd if="$T/data" of="$img" bs="$len" seek="$at" \
			oflag=direct,seek_bytes conv=notrunc
		flag=nonblock
	fi
	dd if="$T/data" of="$img" bs="$len" seek="$at" oflag="$flag,seek_bytes" conv=notrunc \
		status=none
	same "write $*"
}

stats() {
	stat --cached=never -c '%a %u %g %s %b %B %F %h' "$1"
}

mkdir "$T/mnt"
align=$(direct_align "$T")
for mode in $modes; do
	head -c 300007 /dev/urandom | tee "$wanted" >"$T/img"
	chmod 0640 "$T/img"
	chown 1234:4321 "$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	sync "$T/img" # delayed allocation changes the count of blocks
	expect "$(stats "$T/img")" "$(stats "$img")" "cache=$mode: stat"

	for size in 300008 299999 262145 262144 262143 500000 4097 1000001 4096 4095 1 513 512 511 0 \
		3000000 777 1500001; do
		resize "$size"
	done
	write 1499000 2000
	resize 1500500
	resize 1500501
	resize 1504000
	write 1504000 1 direct
	resize 1503998
	resize 1600000
	write 1700001 98765 direct
	write 1802240 98304 direct
	resize 1802245
	resize 1700100
	resize +5000
	resize -3
	sync "$T/img"
	expect "$(stats "$T/img")" "$(stats "$img")" "cache=$mode: stat at the end"
	[ "$(stat -c %b "$img")" -gt 0 ] || fail "cache=$mode: no blocks"
	cmfs_stop c
	cmp "$wanted" "$T/img" || fail "cache=$mode: the image after unmount"
	expect "$(stat -c %s "$wanted")" "$(stat -c %s "$T/img")" "cache=$mode: size after unmount"
done
