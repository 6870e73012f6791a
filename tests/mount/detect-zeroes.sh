#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# detect-zeroes: a write of nothing but zeroes becomes a range of zeroes on the host (on)
# or a hole (unmap), in each mode, with the same content and size, and durable where the
# mode or the writer says so (P1, P4). off is the control. What is written past the
# daemon could not be looked at, so the kernel serves nothing.
CMFS_DETECT_LEAKS=0 # strace
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"

img=$T/mnt/img
mkdir "$T/mnt"
head -c 2M /dev/urandom >"$T/old"
fallocate -z -l 4096 "$T/old" 2>/dev/null || skip "$T: no FALLOC_FL_ZERO_RANGE there"

kib() {
	echo $(($(stat -c '%b * %B' "$T/img") / 1024))
}

count() { # SECTION WORDS
	printf '%s\n' "$1" | grep -c -- "$2" || true
}

for mode in $modes; do
	for detect in off on unmap; do
		case $mode:$detect in writeback:off | *:on | *:unmap) ;; *) continue ;; esac
		cp "$T/old" "$T/img"
		cp "$T/old" "$T/wanted"
		cmfs_start c -o "cache=$mode,detect-zeroes=$detect" "$T/img" "$T/mnt"
		strace_start c
		for file in "$img" "$T/wanted"; do
			# Aligned, past the end, and neither.
			dd if=/dev/zero of="$file" bs=64k seek=4 count=4 conv=notrunc status=none
			dd if=/dev/zero of="$file" bs=70000 seek=30 count=2 conv=notrunc status=none
			dd if=/dev/zero of="$file" bs=5001 seek=3 count=2 conv=notrunc status=none
			dd if=/dev/zero of="$file" bs=16k seek=160 count=1 conv=notrunc status=none
		done
		cmp "$T/wanted" "$img" || fail "$mode: $detect: what is read"
		cmfs_stop c
		strace_stop c
		cmp "$T/wanted" "$T/img" || fail "$mode: $detect: the image"
		trace=$(<"$T/c.strace")
		zero=$(count "$trace" 'fallocate(.*FALLOC_FL_ZERO_RANGE')
		punch=$(count "$trace" 'fallocate(.*FALLOC_FL_PUNCH_HOLE')
		case $detect:$((zero >= 7)):$((punch >= 7)) in # some of the writes are two requests
		off:0:0 | on:1:0 | unmap:0:1) ;;
		*) fail "$mode: $detect: $zero ranges of zeroes, $punch holes" ;;
		esac
		# 256 KiB in the middle; what grew is about 100 KiB more.
		case $detect in
		unmap) [ "$(kib)" -le 1880 ] || fail "$mode: unmap: $(kib) KiB are left" ;;
		*) [ "$(kib)" -ge 2048 ] || fail "$mode: $detect: $(kib) KiB are left" ;;
		esac
		case $mode:$detect in
		writethrough:on | writethrough:unmap | directsync:on | directsync:unmap)
			flushes=$(count "$trace" 'fdatasync(')
			[ "$flushes" -ge $((zero + punch)) ] ||
				fail "$mode: $detect: $((zero + punch)) ranges, but $flushes flushes"
			;;
		esac
	done
done

# P4: the writer's own flag, in a mode that does not ask for it.
cmfs_start c -o cache=writeback,detect-zeroes=unmap "$T/img" "$T/mnt"
expect "daemon: detect-zeroes" \
	"$(getfattr --absolute-names --only-values -n user.cmfs.datapath "$img")"
strace_start c
dd if=/dev/zero of="$img" bs=64k seek=4 count=4 oflag=dsync conv=notrunc status=none
cmfs_stop c
strace_stop c
[ "$(count "$(<"$T/c.strace")" 'fdatasync(')" -ge 4 ] || fail "O_DSYNC, but not flushed"

# P10.
message=$("$CMFS" -o detect-zeroes=unmap,discard=ignore "$T/img" "$T/mnt" 2>&1) && fail "both"
case $message in
*"detect-zeroes=unmap gives back what discard=ignore keeps; detect-zeroes=on works with it"*) ;;
*) fail "$message" ;;
esac
message=$("$CMFS" -o detect-zeroes=on,passthrough=on "$T/img" "$T/mnt" 2>&1) &&
	fail "passthrough=on"
case $message in *detect-zeroes*passthrough=on*) ;; *) fail "$message" ;; esac
