#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The ends of a qcow2 image's qemu-nbd: with the mount, cleanly; with a cmfs that was
# killed, and nothing that was acknowledged is lost (P11); one that was killed itself makes
# the image fail (P5), and what was durable is there; before it is connected to. Signals
# that end a session or a service do not end it before cmfs.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/acked.sh
. "$LIB/acked.sh"
# shellcheck source=../lib/format.sh
. "$LIB/format.sh"

[ "$(id -u)" = 0 ] || skip "clearing a dead mount needs root or fusermount3"
img=$T/mnt/img
mkdir "$T/mnt"

start() { # MODE
	rm -f "$T/img"
	qemu-img create -q -f qcow2 "$T/img" 4M
	again "$1"
}

again() { # MODE
	cmfs_start c --drive "file=$T/img,format=qcow2,cache=$1" "$T/mnt"
	qemu_nbd_of nbd c
}

killed() { # cmfs
	kill -KILL "${PID[c]}"
	wait "${PID[c]}" 2>/dev/null || true
	unset "PID[c]"
	rm -f "$T/c.pid" # it could not
}

for mode in $modes; do
	# cmfs is killed in the middle of writing.
	start "$mode"
	fileop_start
	acked_start "$img"
	killed
	acked_wait >"$T/ends"
	gone "$nbd"
	qemu-img check -q "$T/img" || fail "$mode: qemu-img check"
	qemu-img convert -f qcow2 -O raw "$T/img" "$T/raw"
	acked_check "$T/raw"
	# At once: the old qemu-nbd may still have the image locked.
	again "$mode"
	acked_check "$img"
	fileop_stop
	fileop_start
	ok open 1 "$img"
	ok write 1 3145728 65536 z
	killed
	again "$mode"
	fileop_stop
	fileop_start
	ok open 1 "$img"
	want "65536 z" read 1 3145728 65536
	ok close 1
	cmfs_stop c
	gone "$nbd"

	# qemu-nbd is killed: what was durable is there.
	start "$mode"
	ok open 1 "$img"
	ok write 1 0 65536 a
	ok fsync 1
	ok write 1 65536 65536 b dsync
	ok write 1 131072 65536 c
	: >"$T/c.log"
	kill -KILL "$nbd"
	gone "$nbd"
	want EIO write 1 131072 4096 d
	want EIO write 1 131072 4096 d
	case $mode in
	unsafe) want 0 fsync 1 ;;
	*) want EIO fsync 1 ;;
	esac
	want EIO cache 1 none
	expect 1 "$(grep -c 'mounted anew' "$T/c.log" || true)" "$mode: the failure is logged"
	expect 4194304 "$(stat -c %s "$img")" "$mode: the size of a failed image"
	fileop_stop
	cmfs_stop c 1
	qemu-img check -q "$T/img" 2>/dev/null || qemu-img check -q -r leaks "$T/img"
	[ "$mode" = unsafe ] || blocks="0:a 65536:b"
	case $mode in writethrough | directsync) blocks+=" 131072:c" ;; unsafe) blocks="" ;; esac
	for block in $blocks; do
		qemu-io -r -f qcow2 -c "read -P $(printf %d "'${block#*:}") ${block%:*} 65536" "$T/img" |
			grep -q "^read 65536" || fail "$mode: $block is lost"
	done
done

# Only reads: an error for each, and one line in the log.
start writeback
fileop_start
ok open 1 "$img" direct
kill -KILL "$nbd"
gone "$nbd"
want EIO read 1 0 4096
want EIO read 1 0 4096
expect 1 "$(grep -c 'mounted anew' "$T/c.log" || true)" "the failure is logged"
fileop_stop
cmfs_stop c 1

# What ^C and service managers send to everybody is for cmfs, and ends qemu-nbd last.
for signal in TERM INT HUP; do
	start writeback
	fileop_start
	ok open 1 "$img"
	ok write 1 0 65536 a
	kill -$signal "$nbd"
	ok write 1 65536 65536 b
	ok fsync 1
	fileop_stop
	expect "$nbd" "$(ps -o sid= -p "$nbd" | tr -d ' ')" "qemu-nbd's session"
	kill -$signal "$nbd" "${PID[c]}"
	cmfs_wait c
	gone "$nbd"
	qemu-img check -q "$T/img"
done

# cmfs is killed before it has connected: nobody is left waiting, nor the image locked.
qemu_nbd_by "echo \$\$ >'$T/slow.pid'; exec sleep 600"
"$CMFS" -f --drive "file=$T/img,format=qcow2" "$T/mnt" &
PID[c]=$!
: >"$T/c.log"
while [ ! -s "$T/slow.pid" ]; do
	sleep 0.05
done
nbd=$(cat "$T/slow.pid")
PID[slow]=$nbd
: >"$T/slow.log"
killed
gone "$nbd"
unset "PID[slow]"
expect 0 "$(find /tmp "${TMPDIR:-/tmp}" -maxdepth 1 -name 'cmfs.??????' -newer "$T/slow.pid" | wc -l)" \
	"sockets that are left"
