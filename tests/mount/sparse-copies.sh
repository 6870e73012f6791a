#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sparse copies keep holes, out of the mount and into it: SEEK_DATA and SEEK_HOLE through
# the mount tell the host file's, or with snapshot=on those of the image and its overlay
# together. By cp, tar, dd, qemu-img convert and python's own lseek.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

img=$T/mnt/img
mkdir "$T/mnt" "$T/tar"

kib() {
	echo $(($(stat -c '%b * %B' "$1") / 1024))
}

# 16 MiB: data at 1 MiB, 5 MiB (256 KiB each) and in the last bytes.
make() {
	rm -f "$1"
	truncate -s 16M "$1"
	dd if=/dev/urandom of="$1" bs=256k seek=4 count=1 conv=notrunc status=none
	dd if=/dev/urandom of="$1" bs=256k seek=20 count=1 conv=notrunc status=none
	printf end | dd of="$1" bs=1 seek=16777213 conv=notrunc status=none
}

segments() { # FILE: where data begins and ends
	python3 - "$1" <<'P'
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
pos, out = 0, []
while True:
    try:
        start = os.lseek(fd, pos, os.SEEK_DATA)
    except OSError as e:
        assert e.errno == errno.ENXIO
        break
    pos = os.lseek(fd, start, os.SEEK_HOLE)
    out.append("%d-%d" % (start, pos))
print(*out)
P
}

sparse() { # COPY HOW
	cmp "$img" "$1" || fail "$how: $2: the copy's content"
	[ "$(kib "$1")" -le 1100 ] || fail "$how: $2: $(kib "$1") KiB"
	rm "$1"
}

copies_out() {
	cp --sparse=auto "$img" "$T/copy"
	sparse "$T/copy" "cp --sparse=auto"
	cp --sparse=always "$img" "$T/copy"
	sparse "$T/copy" "cp --sparse=always"
	dd if="$img" of="$T/copy" bs=64k conv=sparse status=none
	sparse "$T/copy" "dd conv=sparse"
	tar -C "$T/mnt" -S -cf "$T/copy.tar" img
	[ "$(stat -c %s "$T/copy.tar")" -le 1200000 ] || fail "$how: tar -S stores the holes"
	tar -C "$T/tar" -S -xf "$T/copy.tar"
	sparse "$T/tar/img" "tar -S"
	! command -v qemu-img >/dev/null || {
		qemu-img convert -f raw -O raw "$img" "$T/copy"
		sparse "$T/copy" "qemu-img convert"
		qemu-img map --output=json -f raw "$img" >"$T/map"
		grep -q '"data": false' "$T/map" || fail "$how: qemu-img map finds no hole"
	}
}

copies_in() { # what was all data
	dd if="$T/random" of="$img" bs=1M conv=notrunc status=none
	cp --sparse=always "$T/plan" "$img" # truncates, then leaves holes
	cmp "$T/plan" "$img" || fail "$how: cp into the mount"
	expect "$(segments "$T/plan")" "$(segments "$img")" "$how: data after a sparse copy into it"
	dd if="$T/random" of="$img" bs=1M conv=notrunc status=none
	! command -v qemu-img >/dev/null || {
		qemu-img convert -n -f raw -O raw -S 4k "$T/plan" "$img"
		cmp "$T/plan" "$img" || fail "$how: qemu-img convert -n into the mount"
		[ "$(du -k "$img" | cut -f 1)" -le 1100 ] || fail "$how: qemu-img convert -n: $(du -k "$img")"
	}
}

make "$T/plan"
head -c 16M /dev/urandom >"$T/random"
for how in writeback "writeback,snapshot=on" "none,snapshot=on"; do
	cp --sparse=always "$T/plan" "$T/img"
	cmfs_start c -o "cache=$how" "$T/img" "$T/mnt"
	expect "$(segments "$T/plan")" "$(segments "$img")" "$how: data"
	copies_out
	case $how in
	*snapshot*) # a hole where the image has data, data where it has a hole, both in part
		for file in "$img" "$T/wanted"; do
			[ "$file" = "$img" ] || cp --sparse=always "$T/plan" "$file"
			fallocate -p -o 1M -l 128K "$file"
			dd if=/dev/zero of="$file" bs=4k seek=1000 count=3 conv=notrunc status=none
			printf x | dd of="$file" bs=1M seek=10 conv=notrunc status=none
			truncate -s 15M "$file"
			truncate -s 16M "$file"
		done
		sync "$T/wanted"
		expect "$(segments "$T/wanted")" "$(segments "$img")" "$how: data after changes"
		copies_out
		;;
	esac
	copies_in
	cmfs_stop c
done
