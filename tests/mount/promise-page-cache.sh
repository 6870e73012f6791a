#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Direct means direct (P6): in none and directsync cachestat(2) finds no page of the
# image in the host's page cache after any operation, aligned or not. Writeback is
# the control: there it finds some. Where the kernel may serve the image, a mapping is
# one of the host file: its pages are the exception, and the next write removes them.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"

mkdir "$T/mnt"
drop_cache() {
	sync "$host/img"
	dd if="$host/img" iflag=nocache count=0 status=none
}

found=0
none_cached() { # COMMAND...
	local pages
	ok "$@"
	pages=$(op cachestat 9)
	done=$((done + 1))
	[ "$pages" != 0 ] || return 0
	echo "$mode: $* left $pages pages in the host's cache"
	found=$((found + 1))
	drop_cache
}

mapped() { # COMMAND...
	ok "$@"
	[ "$(op cachestat 9)" != 0 ] || fail "$mode: $*: not a mapping of the host file"
}

how=("" direct "direct dsync" "direct rdonly") # handles 1 to 4
run() { # FIRST HANDLE...: in the order of their opening
	local h first=$1 mapped=none_cached
	head -c 2000000 /dev/zero >"$host/img"
	fileop_start
	ok open 9 "$host/img" rdonly
	answer=$(op cachestat 9)
	[ "$answer" != ENOSYS ] || skip "the kernel has no cachestat(2)"
	[ "$answer" -ge 10 ] || fail "$mode: $answer pages are cached of what was just written"
	[ "$mode" != writeback ] || drop_cache
	cmfs_start c -o cache="$mode" "$host/img" "$T/mnt" # drops what others left, though dirty
	expect 0 "$(op cachestat 9)" "$mode: pages after mounting"
	for h in "$@"; do
		# shellcheck disable=SC2086 # words
		ok open "$h" "$T/mnt/img" ${how[h - 1]}
	done
	if [ "$mode" = writeback ]; then
		ok write 1 0 40960 a
		answer=$(op cachestat 9)
		[ "$answer" -ge 10 ] || fail "control: writeback, but $answer pages are cached"
		ok cache 1 none # what earlier modes left goes, too
		expect 0 "$(op cachestat 9)" "after the switch to none"
		fileop_stop
		cmfs_stop c
		return
	fi

	done=0
	# A mapping is one of the host file if passthrough came first.
	! served_by_kernel "$mode" "${how[first - 1]}" || mapped=mapped
	none_cached read 1 0 65536
	none_cached read 1 13 40000
	none_cached read 2 "$align" 4096
	none_cached read 3 "$align" 4096
	none_cached read 4 8192 65536
	none_cached read 4 1998848 4096 # over the end
	none_cached read 1 1999000 4096 # over the end
	none_cached write 1 0 65536 a
	none_cached write 2 65536 4096 b
	none_cached write 3 69632 4096 b
	none_cached write 3 $((131072 + align)) 65536 b sync
	none_cached write 1 100 10 c       # inside a block
	none_cached write 1 4000 10000 d   # two edges
	none_cached write 1 1999990 5 e    # in the block that the end cuts
	none_cached write 1 2000000 5 f    # append, from an unaligned end
	none_cached write 1 2000005 9000 g # the same, over blocks
	none_cached write 1 3000001 7 h    # past the end: a hole between
	none_cached write 1 3000009 70000 i dsync
	none_cached write 1 3112960 4096 j # past an unaligned end, itself aligned
	none_cached write 3 3117056 4096 j # append
	none_cached fsync 1
	for size in 3000000 2999999 1500001 1500011 1501111 1500672 4194304 4194305 6000640 1000; do
		none_cached truncate 1 $size
	done
	none_cached write 1 8192 4096 l # the same, below where the end once was
	none_cached truncate 1 2097152
	none_cached write 1 0 131072 k
	for off in 0 512 1000 4095 4097 12345; do
		none_cached fallocate 1 punch $off 8192
		none_cached fallocate 1 zero $((off + 65536)) 777
	done
	none_cached fallocate 1 alloc 2097152 100001
	none_cached copy 1 0 1 300000 50001
	for h in 1 2; do
		none_cached mmap $h 0 65536
		$mapped peek $h 0 65536
		$mapped poke $h 5 5000 m
		$mapped msync $h
		$mapped munmap $h
		none_cached write $h 0 4194304 n # and what was read ahead
		want "65536 n" read $h 0 65536
	done
	echo "$mode, handle $first opened first: $done operations"
	fileop_stop
	cmfs_stop c
}

# XFS zeroes beyond an unaligned end through the page cache, where ext4 does not.
hosts="$T"
if [ "$(id -u)" = 0 ]; then
	hostfs_make xfs xfs
	hosts+=" $T/xfs"
fi
for host in $hosts; do
	align=$(direct_align "$host")
	[ "$align" -ge 512 ] || align=512
	for mode in none directsync writeback; do
		run 1 2 3 4
		[ "$mode" = writeback ] || run 3 1 2 4
	done
done
[ $found = 0 ] || fail "$found operations left pages in the host's cache"
