#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Live switches of a qcow2 image's disk (P7), where those between direct and not end one
# qemu-nbd and start another: under load nothing is lost, torn or failed. When the new one
# does not start, the old mode goes on, and says so. When that cannot either, or the image
# is another one by now, everything fails, and the image has failed (P5).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/format.sh
. "$LIB/format.sh"
# shellcheck source=../lib/switch.sh
. "$LIB/switch.sh"

img=$T/mnt/img
mkdir "$T/mnt"

# What refuses its options, if there is such a file, is no qemu-nbd.
qemu_nbd_by "for refused in '$T'/refuse*; do
	[ -e \"\$refused\" ] || continue
	case \" \$* \" in *\" \$(cat \"\$refused\") \"*) echo 'qemu-nbd: not today' >&2; exit 1 ;; esac
done"

start() { # MODE
	qemu-img create -q -f qcow2 "$T/img" 16M
	cmfs_start c --drive "file=$T/img,format=qcow2,cache=$1" "$T/mnt"
	fileop_start
	ok open 1 "$img"
	ok write 1 0 65536 a
}

mode() {
	getfattr --absolute-names --only-values -n user.cmfs.cache "$img"
}

start writeback
truncate -s 0 "$T/rounds"
(
	round=0
	while [ ! -e "$T/stop" ]; do
		round=$((round + 1))
		timeout 240 fio --output-format=terse --filename="$img" --size=4m --rw=randrw \
			--bsrange=512-16k --blockalign=512 --randseed=$round --verify=crc32c \
			--verify_fatal=1 --verify_backlog=64 --verify_state_save=0 --fsync=50 \
			--fallocate=none \
			--name=direct --ioengine=libaio --iodepth=16 --direct=1 --offset=4m \
			--name=cached --ioengine=libaio --iodepth=16 --direct=0 --offset=8m \
			--name=sync --ioengine=psync --sync=1 --direct=1 --offset=12m --size=1m \
			>"$T/fio" 2>&1 || { cat "$T/fio" && exit 1; }
		echo . >>"$T/rounds"
	done
) >"$T/fio.log" 2>&1 &
PID["fio"]=$!
switches=0
for to in $all_switches; do
	ok cache 1 "$to"
	switches=$((switches + 1))
	want "65536 a" read 1 0 65536
	sleep 0.05
done
touch "$T/stop"
wait "${PID["fio"]}" || { cat "$T/fio.log" && fail "fio"; }
unset "PID[fio]"
echo "$switches switches during $(wc -l <"$T/rounds") rounds of fio"
fileop_stop
cmfs_stop c
qemu-img check -q "$T/img"

# The new one does not start: the old mode, by a qemu-nbd with its flags.
for from in writeback writethrough unsafe none directsync; do
	case $from in
	none | directsync) to=writeback cache=none refused=writeback ;;
	*) to=none cache=writeback refused=none ;;
	esac
	start $from
	echo "--cache=$refused" >"$T/refuse"
	: >"$T/c.log"
	want EIO cache 1 $to
	expect $from "$(mode)" "the mode after a switch to $to that failed"
	grep -q "img: user.cmfs.cache not changed: .*not today" "$T/c.log" || fail "$(cat "$T/c.log")"
	expect 1 "$(wc -l <"$T/c.log")" "lines in the log"
	pid=""
	qemu_nbd_of pid c
	tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qx -- "--cache=$cache" || fail "$from: other flags"
	want "65536 a" read 1 0 65536
	ok write 1 65536 65536 b
	ok fsync 1
	expect none "$(getfattr --absolute-names --only-values -n user.cmfs.error "$img")"
	rm "$T/refuse"
	ok cache 1 $to
	want "65536 b" read 1 65536 65536
	fileop_stop
	cmfs_stop c
	qemu-img check -q "$T/img"
done

# Nor can one be started without a folder for its socket, so the old one is not ended.
mkdir "$T/tmp"
TMPDIR=$T/tmp start writeback
rmdir "$T/tmp"
want ENOENT cache 1 none
grep -q "img: format=qcow2: $T/tmp/.*: cannot make a folder: No such file" "$T/c.log" ||
	fail "$(cat "$T/c.log")"
want "65536 a" read 1 0 65536
ok write 1 65536 65536 b
ok fsync 1
mkdir "$T/tmp"
ok cache 1 none
want "65536 b" read 1 65536 65536
fileop_stop
cmfs_stop c

# Neither does the old one: the image has failed, with all that was acknowledged in it.
start writeback
ok write 1 65536 65536 b
ok open 2 "$img" direct
echo "--image-opts" >"$T/refuse"
: >"$T/c.log"
want EIO cache 1 directsync
expect writeback "$(mode)" "the mode after a switch that failed"
want EIO read 2 0 4096
want EIO write 1 0 4096 c
want EIO fsync 1
want EIO cache 1 writethrough
want EIO cache 1 unsafe
grep -q "not today; nor can it be opened as before, so it has failed: .*not today" "$T/c.log" ||
	fail "$(cat "$T/c.log")"
grep -c "mounted anew" "$T/c.log" | grep -qx 1 || fail "$(cat "$T/c.log")"
fileop_stop
cmfs_stop c 1
rm "$T/refuse"
qemu-img check -q "$T/img"
for block in "0 a" "65536 b"; do
	qemu-io -r -f qcow2 -c "read -P $(printf %d "'${block#* }") ${block% *} 65536" "$T/img" |
		grep -q "^read 65536" || fail "$block is lost"
done

# The name leads to another image by now: that one is not touched.
start writeback
mv "$T/img" "$T/moved"
qemu-img create -q -f qcow2 "$T/img" 16M
before=$(sha256sum <"$T/img")
want ESTALE cache 1 none
ok write 1 65536 65536 b
ok fsync 1
ok cache 1 writethrough # which needs no other qemu-nbd
fileop_stop
cmfs_stop c
expect "$before" "$(sha256sum <"$T/img")" "the other image"
qemu-io -r -f qcow2 -c "read -P 98 65536 65536" "$T/moved" | grep -q "^read 65536"

# The mount covers the image itself: QEMU cannot open it anew, and nothing hangs of that.
cp "$T/moved" "$T/disk"
cmfs_start c --drive "file=$T/disk,format=qcow2" "$T/disk"
expect 16777216 "$(stat -c %s "$T/disk")" "the disk over its image"
! timeout 60 setfattr -n user.cmfs.cache -v none "$T/disk" 2>"$T/err" || fail "switched"
grep -q "Stale file handle" "$T/err" || fail "$(cat "$T/err")"
setfattr -n user.cmfs.cache -v writethrough "$T/disk"
printf hello | dd of="$T/disk" conv=notrunc status=none
expect hello "$(head -c 5 "$T/disk")"
cmfs_stop c
qemu-img check -q -f qcow2 "$T/disk"

# It covers the image's folder: no matter. Nor does a name's being a link.
mkdir "$T/folder"
mv "$T/disk" "$T/folder/disk"
qemu-img create -q -f qcow2 -b disk -F qcow2 "$T/folder/img"
ln -s folder/img "$T/link"
cd "$T"
cmfs_start c --drive "file=link,format=qcow2,name=img" "$T/folder"
cd /
timeout 60 setfattr -n user.cmfs.cache -v none "$T/folder/img" || fail "below the mount"
expect hello "$(head -c 5 "$T/folder/img")"
timeout 60 setfattr -n user.cmfs.cache -v writeback "$T/folder/img" || fail "below the mount, back"
expect hello "$(head -c 5 "$T/folder/img")"
cmfs_stop c
qemu-img check -q -f qcow2 "$T/folder/img"
