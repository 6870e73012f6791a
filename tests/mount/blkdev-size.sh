#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A block device in the mount is a regular file that is as long as the device, in every
# mode and with sectors of 512 and 4096 bytes: what is past the end is refused (ENOSPC),
# what crosses it is short (and ENOSPC with O_DIRECT), O_TRUNC changes nothing, neither for mappings, truncating to
# another size is EINVAL. The size follows the device's. No byte is wrong (P9).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/blkdev.sh
. "$LIB/blkdev.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
img=$T/mnt/img
size=$((2 * 1024 * 1024))
mkdir "$T/mnt"
head -c $size /dev/urandom >"$T/data"

refused() { # ERRNO-TEXT COMMAND...
	local text=$1
	shift
	"$@" 2>"$T/error" && fail "$what: $*: not refused"
	grep -q "$text" "$T/error" || fail "$what: $*: $(cat "$T/error")"
}

same() {
	cmp "$T/data" "$img" || fail "$what: $*"
	expect "$size" "$(stat -c %s "$img")" "$what: $*: size"
}

attributes() {
	expect "regular file $size $((size / 512)) 600 0:0 1 0:0" \
		"$(stat -c '%F %s %b %a %u:%g %h %t:%T' "$img")" "$what: attributes"
	expect "$((size / 1024)) 0" "$(df -k --output=size,avail "$T/mnt" | sed -n '2s/^ *//;2s/  */ /p')" \
		"$what: df"
	chmod 644 "$img" 2>/dev/null && fail "$what: chmod is the host's business"
	touch "$img"
	expect "" "$(getfattr -d -m '^user\.' "$img" 2>/dev/null)" "$what: attributes"
	[ "$passthrough" = off ] ||
		grep -q 'img: data path: daemon: what it shows is no regular file of the host' "$T/c.log" ||
		fail "$what: the log does not say who serves it"
}

truncations() {
	refused "Invalid argument" truncate -s 4096 "$img"
	refused "Invalid argument" truncate -s $((size + 1)) "$img"
	truncate -s $size "$img"
	: >"$img"
	same "O_TRUNC"
	dd if="$T/data" of="$img" bs=1000 count=1 status=none # with O_TRUNC
	same "dd"
	cp "$T/data" "$img"
	same "cp"
}

# What a mapping has is not thrown away by another one's O_TRUNC.
mappings() {
	ok open 1 "$img"
	ok mmap 1 0 $size
	ok poke 1 8192 5 m
	ok open 2 "$img" trunc
	want "5 m" peek 1 8192 5
	ok poke 1 $((size - 5)) 5 m
	want "5 m" read 2 $((size - 5)) 5
	ok close 2
	ok msync 1
	ok munmap 1
	want "5 m" read 1 8192 5
	dd if="$T/data" of="$img" bs=64k conv=notrunc status=none
	same "after the mapping"
	ok close 1
}

# Handles of all kinds; the kernel cuts what is large into several requests.
the_end() {
	local flags
	for flags in "" direct dsync; do
		# shellcheck disable=SC2086 # words
		ok open 1 "$img" $flags
		want ENOSPC write 1 $size 4096 z
		want ENOSPC write 1 $((2 * size)) 4096 z
		case $flags in # the kernel knows no short answers to O_DIRECT
		direct)
			want ENOSPC write 1 $((size - 4096)) 65536 z
			op write 1 1048576 $size z >/dev/null
			;;
		*)
			want 4096 write 1 $((size - 4096)) 65536 z
			want $((size - 1048576)) write 1 1048576 $size z
			;;
		esac
		want "4096 z" read 1 $((size - 4096)) 65536
		want "0 0" read 1 $size 4096
		ok close 1
		cp "$T/data" "$img"
	done
	ok open 1 "$img"
	want 100 write 1 $((size - 100)) 1000 z
	want 0 fallocate 1 punch $((size - 100)) 1000
	want 0 fallocate 1 punch $size 1000
	want "100 0" read 1 $((size - 100)) 1000
	want ENOSPC fallocate 1 zero $((size - 100)) 1000
	want EOPNOTSUPP fallocate 1 alloc 0 4096
	want EOPNOTSUPP fallocate 1 collapse 0 4096
	want 5000 copy 1 0 1 $((size - 5000)) 9999
	ok close 1
	cp "$T/data" "$img"
	same "after the end"
}

bytes() {
	local n off len
	for n in 1 4 7; do
		off=$((n * 77777)) len=$((n * n * 1234 + n))
		dd if="$T/data" of="$T/wanted" bs=$len count=1 seek=$off oflag=seek_bytes \
			conv=notrunc status=none
		dd if="$T/data" of="$img" bs=$len count=1 seek=$off oflag=seek_bytes \
			conv=notrunc status=none
		fallocate -p -o $((off + 99999)) -l $len "$T/wanted"
		fallocate -p -o $((off + 99999)) -l $len "$img"
		fallocate -z -n -o $((off + 199999)) -l $len "$T/wanted"
		fallocate -z -n -o $((off + 199999)) -l $len "$img"
		cmp "$T/wanted" "$img" || fail "$what: write, punch and zero $n"
	done
}

# As losetup -c and lvextend do it, both ways.
resized() {
	truncate -s $((size + 1048576)) "$T/disk"
	losetup -c "$blkdev"
	expect $((size + 1048576)) "$(stat -c %s "$img")" "$what: size of a device that grew"
	ok open 1 "$img"
	want 4096 write 1 $((size + 65536)) 4096 g
	want "4096 g" read 1 $((size + 65536)) 4096
	want ENOSPC write 1 $((size + 1048576)) 1 g
	truncate -s $size "$T/disk"
	losetup -c "$blkdev"
	expect $size "$(stat -c %s "$img")" "$what: size of a device that shrank"
	want ENOSPC write 1 $((size + 65536)) 4096 g
	ok close 1
}

fileop_start
for sector in 512 4096; do
	blkdev_make $size -b $sector
	for mode in $modes; do
		case $sector:$mode in 4096:writeback | 4096:directsync | 4096:unsafe) continue ;; esac
		what="cache=$mode, sectors of $sector"
		cp "$T/data" "$T/wanted"
		cmfs_start c -o cache="$mode" "$T/dev/img" "$T/mnt"
		attributes
		cp "$T/data" "$img"
		truncations
		mappings
		the_end
		bytes
		resized
		cmfs_stop c
		cmp "$T/wanted" "$blkdev" || fail "$what: on the device"
	done
	blkdev_remove
done
fileop_stop
