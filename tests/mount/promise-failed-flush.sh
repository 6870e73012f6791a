#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A failed flush stays failed (P5), with host writes that really fail: the disk
# under the host's file system is a sparse file on a tmpfs that is full. Afterwards
# there is space again, and still nothing is reported as durable until the image is
# mounted anew; the daemon ends with 1 (P12). In unsafe nothing fails (P3). Where the
# kernel serves handles, a flush tells the daemon what became of their writes, and
# handles opened from then on are the daemon's; those from before go on.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/small" "$T/host" "$T/mnt"
mount -t tmpfs -o size=24m none "$T/small"
track_mount "$T/small"
truncate -s 64M "$T/small/disk"
loop=""
loop_attach loop "$T/small/disk"
# No journal: the file system itself must not break off.
mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=0 "$loop"
mount "$loop" "$T/host"
track_mount "$T/host"

break_disk() {
	sync -f "$T/host" || true # it still tells of the last time
	dd if=/dev/zero of="$T/small/ballast" bs=64k status=none 2>/dev/null || true
}

mend_disk() {
	rm "$T/small/ballast"
}

failures() {
	grep -c "^cmfs: img: .* failed: .*mounted anew" "$T/c.log" || true
}

start() { # MODE [HANDLE]: 1 is a plain one, 2 O_DSYNC; which one is opened first
	mode=$1 first=${2:-1}
	rm -f "$T/host/img"
	truncate -s 8M "$T/host/img"
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	fileop_start
	[ "$first" = 2 ] || ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	[ "$first" = 1 ] || ok open 1 "$T/mnt/img"
	want 4096 write 1 0 4096 a
	want 0 fsync 1
}

finish() { # STATUS
	fileop_stop
	cmfs_stop c "$1"
	echo "-- $mode:"
	cmfs_log c
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	want 4096 write 1 1048576 4096 n
	want 0 fsync 1
	fileop_stop
	cmfs_stop c
}

goes_on() { # FLAG: is such a handle of start() one that the kernel serves?
	[ "$mode" != writethrough ] || [ "$first" = 2 ] || return 1
	served_by_kernel "$mode" "$1"
}

is_failed() { # whatever promises durability answers EIO, again and again
	want EIO fsync 1
	want EIO fdatasync 2
	goes_on "" || want EIO write 1 8192 4096 c dsync
	goes_on dsync || want EIO write 2 8192 4096 d
	want EIO fallocate 2 punch 0 4096
	want EIO copy 1 0 2 65536 4096
	ok open 3 "$T/mnt/img"
	ok open 4 "$T/mnt/img" dsync
	want EIO write 3 8192 4096 c dsync
	want EIO write 4 8192 4096 d
	if ! goes_on "" && ! goes_on dsync; then
		ok mmap 3 0 65536
		ok poke 3 0 4096 a
		want EIO msync 3
	fi
	want EIO close 3 # as close(2) may
	want EIO close 4
	want EIO fsync 1
	# And who missed the log can ask.
	getfattr --only-values --absolute-names -n user.cmfs.error "$T/mnt/img" |
		grep -E '^(fsync|durable write): ' || fail "$mode: user.cmfs.error does not tell"
	expect 1 "$(failures)" "$mode: times that the failure is logged"
}

start writeback
break_disk
want 1048576 write 1 2097152 1048576 b # acknowledged, though it never gets to the disk
answer=$(op fsync 1)
case $answer in EIO | ENOSPC) ;; *) fail "the first fsync: $answer" ;; esac
grep "^cmfs: img: fsync failed: " "$T/c.log" || fail "the log does not tell"
is_failed
mend_disk
is_failed
want 4096 write 1 0 4096 c # a write claims nothing
want "4096 c" read 1 0 4096
# A switch is a barrier, so it fails too and the mode stays (P7); unsafe needs none.
want EIO cache 1 directsync
expect writeback "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img")"
! has_sync_flag "$T/host/img" || fail "the switch that failed left the sync flag"
! has_sync_note "$T/host/img" || fail "the switch that failed left a note"
ok cache 1 unsafe
want 0 fsync 1
want EIO cache 1 writeback
is_failed_in=$(failures)
expect 1 "$is_failed_in" "times that the failure is logged"
ok cache 1 unsafe
finish 0 # nothing is flushed at the end

for m in writethrough directsync; do
	start $m
	break_disk
	answer=$(op write 1 2097152 1048576 b)
	case $answer in EIO | ENOSPC) ;; *) fail "$m: the write that cannot be: $answer" ;; esac
	grep "^cmfs: img: durable write failed: " "$T/c.log" || fail "the log does not tell"
	mend_disk
	want EIO write 1 0 4096 c
	want EIO truncate 1 4194304
	want EIO fallocate 1 punch 0 4096
	want EIO copy 1 0 1 65536 4096
	want EIO open 5 "$T/mnt/img" trunc
	is_failed
	want "4096 a" read 1 0 4096
	finish 1
done

# A write that the kernel serves fails: the writer is told, and the next flush.
start writethrough 2
if goes_on dsync; then
	break_disk
	answer=$(op write 2 2097152 1048576 b)
	case $answer in EIO | ENOSPC) ;; *) fail "served by the kernel: $answer" ;; esac
	expect 0 "$(failures)" "served by the kernel: who could know?"
	answer=$(op fsync 1)
	case $answer in EIO | ENOSPC) ;; *) fail "the first fsync: $answer" ;; esac
	is_failed
	mend_disk
	want EIO write 1 0 4096 c
	is_failed
	finish 1
else
	finish 0
fi

start none
break_disk
answer=$(op write 1 2097152 1048576 b) # it goes past the cache: told at once
case $answer in EIO | ENOSPC) ;; *) fail "none: the write that cannot be: $answer" ;; esac
expect 0 "$(failures)" "none: a failed write is no failed flush"
answer=$(op write 2 2097152 1048576 b)
case $answer in EIO | ENOSPC) ;; *) fail "none: the O_DSYNC write that cannot be: $answer" ;; esac
mend_disk
is_failed
want 4096 write 1 0 4096 c
finish 1

start unsafe
break_disk
want 1048576 write 1 2097152 1048576 b
want 0 fsync 1
want 0 fdatasync 2
sync -f "$T/host" || true # the host finds out
want 0 fsync 1
want 4096 write 2 0 4096 c
mend_disk
expect 0 "$(failures)" "unsafe: failures logged"
finish 0

# A host file system without space is not broken: the write is refused, no more.
truncate -s 16M "$T/disk2"
loop_attach loop "$T/disk2"
mkfs.ext4 -q -m 0 "$loop"
umount "$T/host"
mount "$loop" "$T/host"
start writeback
dd if=/dev/zero of="$T/host/ballast" bs=64k status=none 2>/dev/null || true
want ENOSPC write 1 4194304 1048576 b
want 0 fsync 1
rm "$T/host/ballast"
want 1048576 write 1 4194304 1048576 b
want 0 fsync 1
expect 0 "$(failures)" "a full file system: failures logged"
finish 0
