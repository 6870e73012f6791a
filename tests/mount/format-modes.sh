#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The modes of a qcow2 image's disk, as its qemu-nbd shows them: O_DIRECT on the image file
# in none and directsync, and no page of it cached (P6); fdatasync for each write in
# writethrough and directsync (P1), for a write with O_DSYNC (P4) and for fsync (P2) in all
# but unsafe (P3). The same after live switches; only those between direct and not start
# another qemu-nbd.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"
# shellcheck source=../lib/format.sh
. "$LIB/format.sh"
# shellcheck source=../lib/switch.sh
. "$LIB/switch.sh"

which strace >/dev/null || skip "strace is not there"
strace_calls=fdatasync,fsync
img=$T/mnt/disk.qcow2
at=0 before="" after=""

is_direct() { # MODE
	case $1 in none | directsync) echo 1 ;; *) echo 0 ;; esac
}

# Opens of the image file that are direct, of all that its qemu-nbd has.
direct_opens() {
	local fd flags count=0
	for fd in /proc/"${PID[q]}"/fd/*; do
		[ "$(readlink "$fd")" = "$T/disk.qcow2" ] || continue
		flags=$(awk '/^flags:/ { print $2 }' "${fd/\/fd\//\/fdinfo\/}")
		[ $((8#$flags & 8#40000)) = 0 ] || count=$((count + 1))
	done
	echo $count
}

# What its qemu-nbd flushed meanwhile: at least so often, or never.
flushes() { # MINIMUM COMMAND...
	local minimum=$1 before count
	shift
	before=$(grep -c 'sync(' "$T/q.strace" || true)
	"$@"
	count=$(($(grep -c 'sync(' "$T/q.strace" || true) - before))
	case $minimum in
	0) expect 0 "$count" "$mode: $*: flushes" ;;
	*) [ "$count" -ge "$minimum" ] || fail "$mode: $*: $count flushes, not $minimum" ;;
	esac
}

writes() { # HANDLE COUNT, to clusters that are there
	local i
	for ((i = 0; i < $2; i++)); do
		at=$(((at + 4096) % 1048576))
		ok write "$1" $at 4096 w
	done
}

write_and_fsync() {
	writes 1 1
	ok fsync 1
}

check_mode() { # MODE
	local write=0 dsync=3 fsync=1
	mode=$1
	qemu_nbd_of PID[q] c
	expect "$(is_direct "$mode")" "$(direct_opens)" "$mode: opens with O_DIRECT"
	case $mode in
	writethrough | directsync) write=5 ;;
	unsafe) dsync=0 fsync=0 ;;
	esac
	strace_start q
	flushes $write writes 1 5
	flushes $dsync writes 2 3
	flushes $fsync write_and_fsync
	flushes $write writes 1 5
	strace_stop q
	case $mode in
	none | directsync) want 0 cachestat 9 ;;
	writeback) [ "$(op cachestat 9)" != 0 ] || fail "control: nothing is cached in writeback" ;;
	esac
}

mkdir "$T/mnt"
: >"$T/q.log"
head -c 1M /dev/urandom >"$T/raw"
for mode in $modes; do
	qemu-img convert -f raw -O qcow2 "$T/raw" "$T/disk.qcow2"
	cmfs_start c --drive "file=$T/disk.qcow2,format=qcow2,cache=$mode" "$T/mnt"
	fileop_start
	ok open 1 "$img"
	ok open 2 "$img" dsync
	ok open 9 "$T/disk.qcow2" rdonly
	[ "$(op cachestat 9)" != ENOSYS ] || skip "the kernel has no cachestat(2)"
	check_mode "$mode"
	if [ "$mode" = writeback ]; then
		for to in $modes; do
			ok cache 1 "$to"
			check_mode "$to"
		done
		ok cache 1 writeback
		was=writeback
		for to in $all_switches; do
			qemu_nbd_of before c
			ok cache 1 "$to"
			qemu_nbd_of after c
			if [ "$(is_direct "$was")" = "$(is_direct "$to")" ]; then
				expect "$before" "$after" "$was to $to: qemu-nbd"
			else
				[ "$before" != "$after" ] || fail "$was to $to: the same qemu-nbd"
			fi
			was=$to
		done
		qemu_nbd_of PID[q] c
		expect 0 "$(direct_opens)" "opens with O_DIRECT at the end"
	fi
	unset "PID[q]"
	fileop_stop
	cmfs_stop c
	qemu-img check -q "$T/disk.qcow2"
	rm "$T/disk.qcow2"
done

# A stored mode is known only when the image is open: aio=native waits for it.
for mode in none writeback; do
	qemu-img create -q -f qcow2 "$T/disk.qcow2" 4M
	setfattr -n user.cmfs.cache -v $mode "$T/disk.qcow2"
	if [ $mode = none ]; then
		cmfs_start c --drive "file=$T/disk.qcow2,format=qcow2,aio=native" "$T/mnt"
		qemu_nbd_of PID[q] c
		tr '\0' '\n' <"/proc/${PID[q]}/cmdline" | grep -qx -- --aio=native || fail "$mode: aio"
		unset "PID[q]"
		expect none "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$img")"
		cmfs_stop c
	else
		! timeout 60 "$CMFS" -f --drive "file=$T/disk.qcow2,format=qcow2,aio=native" "$T/mnt" \
			2>"$T/err" || fail "$mode: aio=native without O_DIRECT"
		grep -q "disk.qcow2: aio=native needs O_DIRECT, which cache=$mode" "$T/err" ||
			fail "$(cat "$T/err")"
	fi
done
