#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Shared mappings across each of the 25 switches (P7, P9): what a mapping had dirtied
# before is not lost, other handles and the mapping see each other's data in the new
# mode, also within one page, and msync brings all of it to the image.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

in_image() { # OFF LEN
	dd if="$T/img" bs="$2" count=1 iflag=skip_bytes skip="$1" status=none | tr -s '[:alnum:]'
}

mkdir "$T/mnt"
for from in $modes; do
	for to in $modes; do
		head -c 256K /dev/zero | tr '\0' z >"$T/img"
		cmfs_start c -o cache="$from" "$T/img" "$T/mnt"
		fileop_start
		ok open 1 "$T/mnt/img"
		ok open 2 "$T/mnt/img"
		ok mmap 1 0 65536
		want "65536 z" peek 1 0 65536
		ok poke 1 0 1000 a # dirty at the switch
		ok poke 1 8192 4096 b

		ok cache 2 "$to"
		want "1000 a" peek 1 0 1000
		want "4096 b" peek 1 8192 4096
		ok open 3 "$T/mnt/img"
		want "1000 a" read 2 0 1000
		want "4096 b" read 3 8192 4096

		# Writes in the new mode, by an old and a new handle, into pages that the
		# mapping has in memory.
		ok write 2 16384 4096 c
		want "4096 c" peek 1 16384 4096
		ok write 3 20480 4096 d
		want "4096 d" peek 1 20480 4096
		# The same page, dirty in the mapping, its neighbours written.
		ok poke 1 24576 100 e
		ok write 3 24676 100 f
		ok write 2 24776 100 g
		want "100 e" peek 1 24576 100
		want "100 f" peek 1 24676 100
		want "100 g" peek 1 24776 100
		want "100 e" read 3 24576 100
		want "100 g" read 3 24776 100

		ok poke 1 28672 4096 h
		ok msync 1
		expect abcdefgh "$(for at in 0 8192 16384 20480 24576 24676 24776 28672; do
			in_image $at 100
		done)" "$from -> $to: the image after msync"
		# A mapping made in the new mode, and one that is left dirty.
		ok mmap 3 65536 65536
		want "65536 z" peek 3 0 65536
		ok poke 3 0 4096 i
		ok poke 1 32768 4096 k
		ok munmap 1
		ok munmap 3
		fileop_stop
		cmfs_stop c
		expect ik "$(in_image 65536 4096 && in_image 32768 4096)" "$from -> $to: unmounted dirty"
	done
done
