#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# copy_file_range in every mode, within an image and between two images of one
# mount, at odd offsets and lengths, over the end and growing: the bytes are those
# that the same call gives on the host (P9). Overlapping ranges are refused.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

# range FILE-FROM OFFSET FILE-TO OFFSET LEN, in the folder given first
range() {
	xfs_io -c "copy_range -s $3 -d $5 -l $6 $1/$2" "$1/$4"
}

# The copy on the host's models and in the mount.
same() {
	local f
	range "$T/model" "$@" || fail "the host: copy_range $*"
	range "$T/mnt" "$@" || fail "cache=$mode: copy_range $*"
	for f in a b; do
		cmp "$T/model/$f" "$T/mnt/$f" || fail "cache=$mode: copy_range $*: $f in the mount"
		cmp "$T/model/$f" "$T/host/$f" || fail "cache=$mode: copy_range $*: $f on the host"
	done
}

refused() {
	local message
	message=$(range "$T/mnt" "$@" 2>&1) || true
	case "$message" in
	*"Invalid argument"*) ;;
	*) fail "cache=$mode: copy_range $* is not refused: '$message'" ;;
	esac
	cmp "$T/model/a" "$T/host/a" || fail "cache=$mode: a refused copy_range $*"
}

mkdir "$T/mnt" "$T/host" "$T/model"
for mode in $modes; do
	head -c 5000003 /dev/urandom | tee "$T/model/a" >"$T/host/a"
	head -c 300001 /dev/urandom | tee "$T/model/b" >"$T/host/b"
	cmfs_start c -o cache="$mode" "$T/host/a" "$T/host/b" "$T/mnt"
	same a 0 a 2097152 1048576
	same a 1 a 3000001 1500007
	same a 4999000 a 100 1003
	same a 512 a 4099 511
	same a 0 b 0 262144
	same a 777 b 1001 2500003 # more than a request, growing b
	same b 2500000 b 0 1004
	same b 5 a 4999999 100000 # growing a
	same a 5090000 b 2501003 9999
	same a 4096 b 3000000 4097 # leaving a gap
	expect "5099999 3004097" "$(stat -c %s "$T/mnt/a" "$T/mnt/b" | xargs)" "cache=$mode: sizes"
	cat "$T/model/b" >>"$T/model/a"
	cat "$T/mnt/b" >>"$T/mnt/a" # writes between the copies
	same a 6000000 b 3 50001
	same b 0 a 100001 3004097
	refused a 0 a 5000 10000
	refused a 5000 a 0 10000
	cmfs_stop c
	for f in a b; do
		cmp "$T/model/$f" "$T/host/$f" || fail "cache=$mode: $f after unmount"
	done
done
