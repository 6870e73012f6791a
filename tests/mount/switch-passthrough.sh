#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Switching with handles open that the kernel serves by itself (P7), on ext4, XFS and
# btrfs, for each of the 25 pairs of modes: the host file's sync flag is on in the sync
# modes and only there, set before the flush that comes before the answer; every write
# that follows flushes the device where the new mode or its own handle demands it, on
# handles from before the switch and on new ones, and none does elsewhere (P1, P4); a
# writer goes on throughout and loses nothing. On tmpfs, which has no such flag, such a
# switch is refused and the old mode holds.
CMFS_DETECT_LEAKS=0
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"
# shellcheck source=../lib/switch.sh
. "$LIB/switch.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
strace_calls+=,ioctl
N=10 few=3 # were the file system to commit by itself
declare -A flags=([writeback]=plain [none]=direct [writethrough]=dsync
	[directsync]="direct,dsync" [unsafe]=plain)
how=("" direct dsync "direct dsync") # handles 1 to 4, and 5 to 8

is_sync() {
	case $1 in writethrough | directsync) return 0 ;; *) return 1 ;; esac
}

mode_of() {
	getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img"
}

# The direct and durable one first: it brings passthrough about in nearly every mode.
open_handles() { # FIRST
	local i
	for i in 3 0 1 2; do
		# shellcheck disable=SC2086 # words
		ok open $(($1 + i)) "$T/mnt/img" ${how[i]}
	done
}

# How often N writes may flush the device: "AT-LEAST AT-MOST".
wanted_flushes() { # HOW OPENED-IN
	local many=1000000
	case $to,$1 in
	writethrough,* | directsync,*) echo $N $many ;;
	unsafe,*dsync*) # one from before goes on as it was opened
		if served_by_kernel "$2" "$1"; then echo 0 $many; else echo 0 $few; fi
		;;
	unsafe,*) echo 0 $few ;;
	*dsync*) echo $N $many ;;
	*) echo 0 $few ;;
	esac
}

count_writes() { # HANDLE OPENED-IN
	local what=${how[($1 - 1) % 4]} from_count count least most
	read -r least most <<<"$(wanted_flushes "$what" "$2")"
	from_count=$(flushes host)
	want $N writes "$1" $((1048576 + $1 * 65536)) 4096 $N x
	count=$(($(flushes host) - from_count))
	what="$fs, $from -> $to: $N writes, ${what:-plain} handle of $2"
	[ "$count" -ge "$least" ] || fail "$what: $count flushes, not $least"
	[ "$count" -le "$most" ] || fail "$what: $count flushes, not at most $most"
	counts+=("$count")
}

# What the switch does to the host file, with the answer to the one who asked.
wanted_switch() {
	local flush="fsync:${flags[$from]}" set="" clear=""
	# No flush then, but what has failed is asked for before the descriptor goes (P5).
	[ "$to" != unsafe ] || flush="sync_file_range:${flags[$from]}"
	if [ $bypassed = 1 ]; then
		is_sync "$from" || ! is_sync "$to" || set="+S fallocate:${flags[$from]}"
		! is_sync "$from" || is_sync "$to" || clear="-S"
	fi
	echo "$set $flush $clear reply" | xargs
}

switch_pair() {
	local got h counts=() label=$from-$to
	ok cache 1 "$from"
	for h in 1 2 3 4; do
		ok close $h
	done
	open_handles 1
	ok writes 1 0 4096 $N y
	ok mark 9 "$label"
	ok cache 1 "$to"
	ok mark 9 "$label-end"
	expect "$to" "$(mode_of)" "$fs, $label"
	# btrfs does not tell what O_DIRECT demands there: reads find out.
	got=$(section c "$label" "$label-end" | events | sed 's/pread64:direct[^ ]* //g')
	expect "$(wanted_switch)" "$got" "$fs, $label: what the daemon did"
	if is_sync "$to" && [ $bypassed = 1 ]; then
		has_sync_flag "$T/host/img" || fail "$fs, $label: no sync flag"
	else
		! has_sync_flag "$T/host/img" || fail "$fs, $label: a sync flag"
	fi
	open_handles 5
	for h in 1 2 3 4; do
		count_writes $h "$from"
	done
	for h in 5 6 7 8; do
		count_writes $h "$to"
	done
	for h in 5 6 7 8; do
		ok close $h
	done
	echo "$fs, $label: $got; flushes for $N writes each: ${counts[*]}"
}

acknowledged() {
	od -A n -v -t u8 "$T/acks.0" | awk '{ for (i = 1; i <= NF; i++) sum += $i } END { print sum + 0 }'
}

# A plain writer, in writeback: served by the kernel, and written before each switch.
writer_goes_on() { # COUNT: wait for so many more
	local wanted=$(($(acknowledged) + $1))
	while [ "$(acknowledged)" -lt $wanted ]; do
		kill -0 "${PID["writer"]}" || fail "$fs: the writer: $(cat "$T/writer.log")"
		sleep 0.01
	done
}

under_a_writer() {
	local flushed written
	"$(helper acked)" write "$T/mnt/img" "$T/acks.0" >"$T/writer.log" 2>&1 &
	PID["writer"]=$!
	while [ ! -s "$T/acks.0" ]; do
		sleep 0.01
	done
	for to in $all_switches; do
		writer_goes_on 1
		setfattr -n user.cmfs.cache -v "$to" "$T/mnt/img" || fail "$fs, to $to under a writer"
		flushed=$(flushes host)
		written=$(acknowledged)
		writer_goes_on $N
		written=$(($(acknowledged) - written))
		flushed=$(($(flushes host) - flushed))
		if is_sync "$to"; then # one was perhaps acknowledged, but not yet counted
			[ $flushed -ge $((written - 1)) ] ||
				fail "$fs, $to, under a writer: $flushed flushes for $written writes"
		fi
	done
	kill "${PID["writer"]}"
	wait "${PID["writer"]}" || fail "$fs: the writer: $(cat "$T/writer.log")"
	unset "PID[writer]"
	grep -q stopped "$T/writer.log" || fail "$fs: the writer: $(cat "$T/writer.log")"
	echo "$fs: the writer: $(cat "$T/writer.log")"
	"$(helper acked)" check "$T/host/img" "$T/acks.0" || fail "$fs: the writer lost something"
	rm "$T/acks.0"
}

on_hostfs() {
	fs=$1
	hostfs_make host "$fs"
	head -c 4M /dev/zero >"$T/host/img"
	sync -f "$T/host"
	cmfs_start c -o cache=writeback "$T/host/img" "$T/mnt"
	bypassed=0
	! served_by_kernel writeback || bypassed=1
	under_a_writer

	fileop_start
	ok open 9 "$T/mnt/img" rdonly
	ok open 0 "$T/mnt/img" # a bypassing writer that is always there
	open_handles 1
	strace_start c
	for from in $modes; do
		for to in $modes; do
			switch_pair
		done
	done
	strace_stop c
	fileop_stop
	cmfs_stop c
	! has_sync_flag "$T/host/img" || fail "$fs: the sync flag is left"
	! has_sync_note "$T/host/img" || fail "$fs: the note is left"
	hostfs_remove host
}

refused_on_tmpfs() { # FROM TO FLAG...
	local from=$1 to=$2 before
	shift 2
	ok cache 9 "$from"
	ok open 1 "$T/mnt/img" "$@"
	ok write 1 0 4096 a
	before=$(fd_flags "${PID[c]}" "$T/host/img")
	: >"$T/c.log"
	want EBUSY cache 9 "$to"
	tr -d '\0' <"$T/c.log"
	expect 1 "$(tr -d '\0' <"$T/c.log" | wc -l)" "tmpfs, $from -> $to: lines in the log"
	grep -aq "img: user.cmfs.cache not changed: .*sync flag.*cache=$to.*close the files" "$T/c.log" ||
		fail "tmpfs, $from -> $to: the log does not say why and what to do"
	expect "$from" "$(mode_of)" "tmpfs, $from -> $to"
	expect "$before" "$(fd_flags "${PID[c]}" "$T/host/img")" "tmpfs, $from -> $to: descriptors"
	# The old mode in full: I/O, flushes, new handles, and the way to other modes.
	ok write 1 4096 4096 b
	ok fsync 1
	ok open 2 "$T/mnt/img" "$@"
	ok write 2 8192 4096 c
	want "4096 b" read 2 4096 4096
	for to in unsafe writeback "$from"; do
		ok cache 9 "$to"
	done
	ok close 1
	ok close 2
}

on_tmpfs() {
	local from to
	mount -t tmpfs -o size=16m none "$T/host"
	track_mount "$T/host"
	head -c 1M /dev/zero >"$T/host/img"
	cmfs_start c -o cache=writeback "$T/host/img" "$T/mnt"
	fileop_start
	ok open 9 "$T/mnt/img" rdonly
	has_direct=0
	! (direct_align "$T/host") >/dev/null 2>&1 || has_direct=1
	syncs=writethrough
	[ $has_direct = 0 ] || syncs="writethrough directsync"
	if served_by_kernel writeback; then
		for to in $syncs; do
			refused_on_tmpfs writeback "$to"
			refused_on_tmpfs unsafe "$to"
			[ $has_direct = 0 ] || refused_on_tmpfs none "$to" direct
		done
		# A handle that is closed is released a moment later.
		wants setfattr -n user.cmfs.cache -v writethrough "$T/mnt/img" 2>/dev/null ||
			fail "tmpfs: no such writer is open, but no switch"
	fi
	# Who reads, or makes its own writes durable, is in nobody's way.
	for from in writeback unsafe; do
		for to in $syncs; do
			ok cache 9 $from
			ok open 1 "$T/mnt/img" dsync
			ok write 1 0 4096 d
			want 0 cache 9 "$to"
			ok write 1 4096 4096 e
			ok open 2 "$T/mnt/img"
			ok write 2 8192 4096 f
			want "4096 e" read 2 4096 4096
			ok close 1
			ok close 2
		done
	done
	fileop_stop
	cmfs_stop c
	expect e "$(dd if="$T/host/img" bs=4096 skip=1 count=1 status=none | tr -s e)" "the image"
	umount "$T/host"
}

mkdir "$T/mnt"
for fs in ext4 xfs btrfs; do
	on_hostfs "$fs"
done
mkdir "$T/host"
on_tmpfs
