#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An export's bytes and its end (P9), with servers of bytes, of blocks of 512 and 4096,
# with requests of at most 8 KiB, with and without zeroing and extents, and with TLS.
# Neighbours' bytes are kept; a write past the end is ENOSPC, as with a device, and no
# failure; O_TRUNC changes nothing.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/nbd.sh
. "$LIB/nbd.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

mkdir "$T/mnt"
file=$T/mnt/disk
records=$(helper records)
size=1048576
"$records" print 200 100 >"$T/wanted"

serve() { # KIND
	local policy="blocksize-error-policy=error"
	truncate -s 0 "$T/disk"
	truncate -s $size "$T/disk"
	case $1 in
	bytes) nbd_serve s file "$T/disk" ;;
	512) nbd_serve s --filter=blocksize-policy file "$T/disk" $policy blocksize-minimum=512 ;;
	4096) nbd_serve s --filter=blocksize-policy file "$T/disk" $policy \
		blocksize-minimum=4096 blocksize-maximum=8192 ;;
	tls) nbd_serve s --tls=require --tls-psk="$T/keys" file "$T/disk" ;;
	bare) nbd_serve s --filter=noextents --filter=nozero file "$T/disk" ;;
	esac
}

uri() { # KIND
	if [ "$1" = tls ]; then
		echo "nbds+unix://alice@/disk?socket=$T/s.sock&tls-psk-file=$T/keys"
	else
		nbd_uri s disk
	fi
}

write_records() { # four processes, each every fourth record
	local i pids=()
	for ((i = 0; i < 4; i++)); do
		"$records" write "$file" 200 100 4 "$i" &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || fail "$what: a writer"
	done
	cmp -n 20000 "$T/wanted" "$file" || fail "$what: records"
}

check_end() {
	fileop_start
	ok open 1 "$file"
	want ENOSPC write 1 $size 1 x
	want ENOSPC write 1 $((size + 4096)) 4096 x
	want 10 write 1 $((size - 10)) 4096 e
	want 0 fsync 1
	want "10 e" read 1 $((size - 10)) 100
	want 0 truncate 1 $size
	want EINVAL truncate 1 $((size - 4096))
	want EINVAL truncate 1 $((size + 1))
	fileop_stop
	: >"$file"
	expect $size "$(stat -c %s "$file")" "$what: size"
	expect none "$(getfattr --absolute-names --only-values -n user.cmfs.error "$file")" "$what"
}

check_zeroes() { # KIND
	local way
	head -c 200000 /dev/urandom >"$T/random"
	for way in -p -z; do
		dd if="$T/random" of="$file" bs=100000 seek=2 conv=notrunc status=none
		if [ "$1" = bare ]; then # it cannot, and says so
			! fallocate $way -n -o 300001 -l 20000 "$file" 2>"$T/err" || fail "$way"
			continue
		fi
		fallocate $way -n -o 300001 -l 20000 "$file"
		cmp -n 20000 -i 300001:0 "$file" /dev/zero || fail "$what: fallocate $way"
		cmp -n 100001 -i 200000:0 "$file" "$T/random" || fail "$what: before $way"
		cmp -n 79999 -i 320001:120001 "$file" "$T/random" || fail "$what: behind $way"
		fallocate $way -n -o 310000 -l 7 "$file" # less than a block
		fallocate $way -n -o $((size - 100)) -l 1000000 "$file" # past the end: cut
	done
	! fallocate -o 0 -l 4096 "$file" 2>"$T/err" || fail "$what: space was reserved"
}

# What is data where, by SEEK_DATA and SEEK_HOLE.
map() {
	python3 -c '
import os, sys
fd, pos, end = os.open(sys.argv[1], os.O_RDONLY), 0, os.stat(sys.argv[1]).st_size
while pos < end:
    try:
        start = os.lseek(fd, pos, os.SEEK_DATA)
    except OSError:
        break
    pos = os.lseek(fd, start, os.SEEK_HOLE)
    print(start, pos)' "$1"
}

echo "alice:$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" >"$T/keys"
kinds="bytes 512 4096 bare"
nbdkit --dump-config | grep -qx tls=yes && kinds+=" tls"
for kind in $kinds; do
	serve "$kind"
	some=none
	[ "$kind" != bytes ] || some="writethrough none unsafe"
	for mode in $some; do
		what="$kind, cache=$mode"
		cmfs_start c -o cache="$mode" "$(uri "$kind")" "$T/mnt"
		write_records
		check_end
		check_zeroes "$kind"
		cmfs_stop c
	done
	cmfs_start c -o cache=directsync "$(uri "$kind")" "$T/mnt"
	cmp "$file" "$T/disk" || fail "$kind: the server's file"
	if [ "$kind" = bare ]; then
		expect "0 $size" "$(map "$file")" "$kind: all is data"
	else
		[ "$(map "$T/disk" | wc -l)" -gt 1 ] || fail "$kind: there are no holes to be found"
		expect "$(map "$T/disk")" "$(map "$file")" "$kind: data and holes"
	fi
	cmfs_stop c
	nbd_kill s
done
