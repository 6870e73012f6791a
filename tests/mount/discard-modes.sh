#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# discard=unmap gives the space of what is discarded back to the host, discard=ignore
# keeps it; either way there are zeroes afterwards (P9), durable ones in sync modes (P1).
# By fallocate(2) and by blkdiscard of a loop device, with an overlay too.
CMFS_DETECT_LEAKS=0 # strace
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
img=$T/mnt/img
mkdir "$T/mnt"
head -c 2M /dev/urandom >"$T/old"

kib() {
	echo $(($(stat -c '%b * %B' "$T/img") / 1024))
}

discard() {
	local loop=""
	fallocate -p -o 100000 -l 300000 "$img"
	if [ "$mode" != none ]; then # once is enough
		fallocate -p -o 1M -l 512K "$img"
		return 0
	fi
	loop_attach loop "$img"
	blkdiscard -o 1M -l 512K "$loop"
	loop_detach "$loop"
}

cp "$T/old" "$T/wanted"
fallocate -p -o 100000 -l 300000 "$T/wanted"
fallocate -p -o 1M -l 512K "$T/wanted"
fallocate -z -l 4096 "$T/wanted" 2>/dev/null || skip "$T: no FALLOC_FL_ZERO_RANGE there"
dd if="$T/old" of="$T/wanted" bs=4096 count=1 conv=notrunc status=none

calls_of() { # of the daemon, on the image: modes of fallocate, and how many flushes
	grep -o 'fallocate(.*' "$T/c.strace" | sed 's/^[^,]*, \([A-Z_|]*\),.*/\1/' | sort -u | xargs
	grep -c 'fdatasync(' "$T/c.strace" || true
}

for mode in writeback none writethrough directsync; do
	case $mode in writethrough | directsync) flushes=2 ;; *) flushes=0 ;; esac
	for discard in unmap ignore; do
		cp "$T/old" "$T/img"
		cmfs_start c -o "cache=$mode,discard=$discard" "$T/img" "$T/mnt"
		strace_start c
		discard
		cmp "$T/wanted" "$img" || fail "$mode: discard=$discard: what is read"
		cmfs_stop c
		strace_stop c
		calls=$(calls_of)
		case $discard in
		unmap)
			expect "FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE" "${calls%$'\n'*}" "$mode: $discard"
			[ "$(kib)" -le 1300 ] || fail "$mode: $discard: $(kib) KiB are left"
			;;
		ignore)
			expect "FALLOC_FL_KEEP_SIZE|FALLOC_FL_ZERO_RANGE" "${calls%$'\n'*}" "$mode: $discard"
			[ "$(kib)" -ge 2048 ] || fail "$mode: $discard: $(kib) KiB are left"
			;;
		esac
		[ "${calls#*$'\n'}" -ge $flushes ] || fail "$mode: $discard: not durable: $calls"
		cmp "$T/wanted" "$T/img" || fail "$mode: discard=$discard: the image"
	done
done

# In an overlay, and out of it.
mode=overlay
for discard in unmap ignore; do
	cp "$T/old" "$T/img"
	cmfs_start c -o "snapshot=on,discard=$discard" "$T/img" "$T/mnt"
	discard
	cmp "$T/wanted" "$img" || fail "overlay: $discard: what is read"
	cmp "$T/old" "$T/img" || fail "overlay: $discard: the image"
	setfattr -n user.cmfs.commit -v now "$img"
	cmfs_stop c
	cmp "$T/wanted" "$T/img" || fail "overlay: $discard: committed"
	case $discard in
	unmap) [ "$(kib)" -le 1300 ] || fail "committed: $discard: $(kib) KiB are left" ;;
	ignore) [ "$(kib)" -ge 2048 ] || fail "committed: $discard: $(kib) KiB are left" ;;
	esac
done

# P10.
message=$("$CMFS" -o discard=perhaps "$T/img" "$T/mnt" 2>&1) && fail "discard=perhaps"
case $message in *"discard=perhaps: no such value; there are unmap, ignore"*) ;; *) fail "$message" ;; esac
