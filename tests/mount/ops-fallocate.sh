#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fallocate in every mode, with odd offsets (P9): allocate, keep-size, punch and
# zero give the bytes, the size and the holes that the host file system itself
# gives to a model file; collapse and insert are refused; SEEK_DATA and SEEK_HOLE
# pass through, so cp keeps holes.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

img=$T/mnt/img
wanted=$T/wanted

same() {
	cmp "$wanted" "$img" || fail "cache=$mode: $*: in the mount"
	cmp "$wanted" "$T/img" || fail "cache=$mode: $*: on the host"
	expect "$(stat -c %s "$wanted")" "$(stat -c %s "$img")" "cache=$mode: $*: size"
}

both() {
	fallocate "$@" "$wanted"
	fallocate "$@" "$img" || fail "cache=$mode: fallocate $*"
	same "fallocate $*"
}

refused() {
	local message
	message=$(fallocate "$@" "$img" 2>&1) && fail "cache=$mode: fallocate $* is not refused"
	case "$message" in
	*"not supported"*) ;;
	*) fail "cache=$mode: fallocate $*: $message" ;;
	esac
	same "after a refused fallocate $*"
}

# Where data begins and ends, as SEEK_DATA and SEEK_HOLE say it.
extents() {
	xfs_io -r -c "seek -a -r 0" "$1"
}

# seek OFFSET -h|-d: the kind of what is found, if it is found right there
seek() {
	xfs_io -r -c "seek $2 $1" "$img" | awk -v at="$1" '$2 == at { print $1 }'
}

head -c 2000003 /dev/urandom >"$T/data"
for f in -p -z; do
	cp "$T/data" "$wanted"
	fallocate "$f" -o 0 -l 4096 "$wanted" 2>/dev/null || skip "$T: no fallocate $f there"
done
mkdir "$T/mnt"
for mode in $modes; do
	cp "$T/data" "$wanted"
	cp "$T/data" "$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"

	both -p -o 8192 -l 65536
	both -p -o 200001 -l 33333
	both -p -o 300000 -l 7
	both -p -o 1990000 -l 999999 # over the end
	both -p -o 3000000 -l 4096   # behind it
	both -z -o 400001 -l 100001
	both -z -o 511 -l 2
	both -z -n -o 1999990 -l 9999
	both -n -o 1900000 -l 1000003
	both -o 1999000 -l 2000
	both -l 2500001
	both -z -o 2500000 -l 777
	both -o 2700003 -l 5
	for f in "$wanted" "$img"; do
		dd if="$T/data" of="$f" bs=5000 count=1 seek=2600001 oflag=seek_bytes conv=notrunc \
			status=none
	done
	same "a write into allocated space"
	both -p -o 2600003 -l 4995
	refused -c -o 4096 -l 4096
	refused -i -o 4096 -l 4096

	both -p -o 1000001 -l 500000

	# All on disk, so that nothing depends on what is still to be allocated.
	sync "$T/img"
	expect "$(extents "$T/img")" "$(extents "$img")" "cache=$mode: holes"
	expect HOLE "$(seek 1100000 -h)" "cache=$mode: SEEK_HOLE"
	expect DATA "$(seek 900000 -d)" "cache=$mode: SEEK_DATA"
	for sparse in auto always; do
		cp --sparse=$sparse "$img" "$T/copy"
		cmp "$wanted" "$T/copy" || fail "cache=$mode: cp --sparse=$sparse"
		[ "$(stat -c %b "$T/copy")" -lt $((2700008 / 512)) ] ||
			fail "cache=$mode: cp --sparse=$sparse kept no hole"
	done
	cmfs_stop c
	cmp "$wanted" "$T/img" || fail "cache=$mode: the image after unmount"
done
