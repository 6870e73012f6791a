#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is open when the power is cut: handles, mappings with dirty pages, a loop
# device, an open at that very moment; ends of the mount with handles of images that
# are dead; and ends without a cut: everything gets to the host file, or the exit
# status tells (P12).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

img=$T/mnt/img

cut() { # SPEC
	setfattr -n user.cmfs.powercut -v "$1" "$img" || fail "cut $1"
}

start() { # OPTION...
	rm -f "$T/img"
	truncate -s 64K "$T/img"
	cmfs_start c -o "powercut=on,$1" "$T/img" "$T/mnt"
	fileop_start
}

mkdir "$T/mnt"
# A SIGBUS is to be one, with a sanitizer too.
fileop_by=(env "ASAN_OPTIONS=$ASAN_OPTIONS:handle_sigbus=0"
	"TSAN_OPTIONS=$TSAN_OPTIONS:handle_sigbus=0")

# Dirty pages of a mapping are not written to the next boot's image, nor do they make
# it fail; no page of one boot is seen in another, whoever has read it.
for mode in writeback none; do
	start cache=$mode
	ok open 1 "$img"
	ok mmap 1 0 16384
	ok poke 1 0 4096 a
	ok msync 1
	ok poke 1 4096 4096 b
	cut lose
	ok open 2 "$img"
	want "4096 a" read 2 0 4096
	want "4096 0" read 2 4096 4096
	want "4096 0" read 2 8192 4096
	want EIO read 1 0 4096
	want EIO read 1 8192 4096
	want EIO msync 1
	ok write 2 8192 4096 c
	ok fsync 2
	want EIO read 1 8192 4096
	ok munmap 1
	want EIO close 1
	cut lose
	want EIO read 2 8192 4096
	ok open 3 "$img"
	want "4096 a" read 3 0 4096
	want "4096 0" read 3 4096 4096
	want "4096 c" read 3 8192 4096
	expect none "$(getfattr --absolute-names --only-values -n user.cmfs.error "$img")"

	# A mapping of a dead image cannot be used at all: SIGBUS.
	ok mmap 3 0 16384
	want "4096 a" peek 3 0 4096
	cut keep
	stat "$img" >/dev/null
	echo "peek 3 0 4096" >&"$OP_IN"
	status=0
	wait "${PID[op]}" || status=$?
	expect $((128 + $(kill -l BUS))) $status "$mode: a mapping from before the cut"
	fileop_stop
	cmfs_stop c
done

# Metadata of a handle, and what has none: the new boot's.
start cache=writeback
ok open 1 "$img"
ok truncate 1 1000
cut lose
expect 65536 "$(stat -c %s "$img")"
truncate -s 3000 "$img"
expect 3000 "$(stat -c %s "$img")"
want EIO truncate 1 5
expect 3000 "$(stat -c %s "$img")"
chmod 640 "$img"
expect 640 "$(stat -c %a "$T/img")"

# Ended while handles of dead images are open.
ok open 2 "$img"
ok write 2 0 4096 x
cut keep
ok open 3 "$img"
ok write 3 4096 4096 y
kill -TERM "${PID[c]}"
cmfs_wait c
fileop_stop
expect "4096 4096" "$(tr -cd x <"$T/img" | wc -c) $(tr -cd y <"$T/img" | wc -c)"

# Opens and stats in a loop, across cuts: what works sees a whole image, what does not
# says EIO.
start cache=none
cat >"$T/opener" <<'END'
set -o pipefail
while [ ! -e stop ]; do
	n=$(stat -c %s mnt/img 2>>errors) && [ "$n" != 65536 ] && echo "size $n"
	n=$(head -c 65536 mnt/img 2>>errors | wc -c) && [ "$n" != 65536 ] && [ "$n" != 0 ] &&
		echo "read $n"
done
true
END
bash "$T/opener" >"$T/opener.out" 2>&1 &
opener=$!
for ((i = 0; i < 50; i++)); do
	ok open 1 "$img"
	ok write 1 $((i * 512)) 512 z
	cut random:$i
	op close 1 >/dev/null
done
touch "$T/stop"
wait $opener
expect "" "$(cat "$T/opener.out")" "an opener"
! grep -v 'Input/output error' "$T/errors" || fail "an opener met another error"
expect 50 "$(grep -c 'power cut, random' "$T/c.log")"

# Two at a time: one of them finds the image off.
for ((i = 0; i < 10; i++)); do
	setfattr -n user.cmfs.powercut -v lose "$img" 2>"$T/err1" &
	other=$!
	setfattr -n user.cmfs.powercut -v keep "$img" 2>"$T/err2" || true
	wait $other || true
	! grep -hv 'Input/output error' "$T/err1" "$T/err2" || fail "two cuts"
done
ok open 1 "$img"
ok write 1 0 512 q
fileop_stop
cmfs_stop c
expect 512 "$(tr -cd q <"$T/img" | wc -c)"

# Without a cut: unsafe hands all of it to the host file, without a flush; a failure is
# the exit status.
start cache=unsafe,powercut-memory=0
ok open 1 "$img"
ok write 1 0 65536 u
ok fsync 1
expect 0 "$(tr -cd u <"$T/img" | wc -c)" "before the end"
fileop_stop
cmfs_stop c
expect 65536 "$(tr -cd u <"$T/img" | wc -c)" "after the end"

[ "$(id -u)" = 0 ] || exit 0
mkdir "$T/small"
mount -t tmpfs -o size=1m none "$T/small"
track_mount "$T/small"
for mode in writeback unsafe; do
	rm -f "$T/small/img"
	truncate -s 4M "$T/small/img"
	cmfs_start c -o powercut=on,cache=$mode "$T/small/img" "$T/mnt"
	head -c 3M /dev/urandom | dd of="$img" bs=64k conv=notrunc status=none
	cmfs_stop c 1
	grep -q 'not all of it is durable: No space left' "$T/c.log" || fail "$(cat "$T/c.log")"
done

# SIGKILL: what is not durable is lost, as documented (P11 does not hold), no more.
rm -f "$T/img"
truncate -s 64K "$T/img"
cmfs_start c -o powercut=on "$T/img" "$T/mnt"
fileop_start
ok open 1 "$img"
ok write 1 0 4096 d
ok fsync 1
ok write 1 4096 4096 v
kill -KILL "${PID[c]}"
cmfs_wait c 137
rm "$T/c.pid"
want ENOTCONN fsync 1
fileop_stop
umount "$T/mnt"
expect "4096 0" "$(tr -cd d <"$T/img" | wc -c) $(tr -cd v <"$T/img" | wc -c)" "after SIGKILL"

# A loop device: its I/O fails, a new one on the same file works.
cmfs_start c -o powercut=on "$T/img" "$T/mnt"
loop=
loop_attach loop "$img"
expect 4096 "$(head -c 4096 "$loop" | tr -cd d | wc -c)"
cut lose
! dd if="$loop" bs=4096 count=1 iflag=direct of=/dev/null status=none 2>/dev/null ||
	fail "the loop device still reads"
loop_detach "$loop"
loop_attach loop "$img"
expect 4096 "$(head -c 4096 "$loop" | tr -cd d | wc -c)"
loop_detach "$loop"
cmfs_stop c
