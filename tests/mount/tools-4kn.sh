#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Host file systems that differ in what O_DIRECT demands: ext4 on sectors of 4096
# bytes, XFS on sectors of 512, tmpfs. Unaligned writes, odd appends, odd ends,
# truncate, punch and fio's verified mix give exact bytes and sizes on each (P9),
# and no neighbour of a block that was partly written is lost. Where the kernel serves
# O_DIRECT, what is unaligned is refused, and done without O_DIRECT.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

[ "$(id -u)" = 0 ] || skip "needs root for loop devices"
data=$T/data
img=$T/mnt/img
wanted=$T/wanted

same() {
	cmp "$wanted" "$img" || fail "$what: $*: in the mount"
	cmp "$wanted" "$T/host/img" || fail "$what: $*: on the host"
}

# put OFFSET LEN [OFLAG]
put() {
	local flag=${3:-nonblock}
	dd if="$data" of="$wanted" bs="$2" count=1 seek="$1" oflag=seek_bytes conv=notrunc status=none
	if [ "$flag" = direct ] && served_by_kernel "$mode" direct &&
		[ $(($1 % align + $2 % align)) != 0 ]; then
		refused_unaligned dd if="$data" of="$img" bs="$2" count=1 seek="$1" \
			oflag=direct,seek_bytes conv=notrunc
		flag=nonblock
	fi
	dd if="$data" of="$img" bs="$2" count=1 seek="$1" oflag="$flag,seek_bytes" conv=notrunc \
		status=none || fail "$what: put $*"
	same "put $*"
}

resize() {
	truncate -s "$1" "$wanted"
	truncate -s "$1" "$img"
	same "truncate -s $1"
}

punch() {
	local f=$1
	shift
	fallocate "$f" "$@" "$T/host/img.probe" 2>/dev/null || return 0 # tmpfs cannot zero
	fallocate "$f" "$@" "$wanted"
	fallocate "$f" "$@" "$img"
	same "fallocate $f $*"
}

# verified DIRECT SECTOR: fio's mix, in multiples of SECTOR
verified() {
	fio --name=v --filename="$img" --rw=randrw --bsrange="$2-32k" --blockalign="$2" --size=4M \
		--ioengine=libaio --iodepth=16 --direct="$1" --verify=crc32c --verify_fatal=1 \
		--verify_state_save=0 --minimal >"$T/fio.log" 2>&1 ||
		{ cat "$T/fio.log" && fail "$what: fio, direct=$1"; }
}

exercise() {
	local len
	head -c 300001 "$data" | tee "$wanted" >"$T/host/img"
	cp "$wanted" "$T/host/img.probe"
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	same "to begin with"
	put 1 1
	put 4095 2 direct
	put 5000 777
	put 511 513 direct
	put 8192 512
	put 8192 4096 direct
	put 12288 8191
	put 7 200000 direct
	put 299999 1 dsync
	for len in 1 333 511 512 4095 4097 9999; do
		put "$(stat -c %s "$wanted")" $len
		put "$(stat -c %s "$wanted")" $len direct
	done
	put 400001 50001
	resize 400001
	resize 399872
	resize 402000
	resize 398999
	punch -p -o 100001 -l 10000
	punch -z -o 200001 -l 999
	"$(helper records)" print 400 100 >"$T/records"
	for i in 0 1 2 3; do
		"$(helper records)" write "$img" 400 100 4 $i &
		pids[i]=$!
	done
	for i in 0 1 2 3; do
		wait "${pids[i]}" || fail "$what: a writer of records failed"
	done
	dd if="$T/records" of="$wanted" bs=64K conv=notrunc status=none
	same "neighbouring records"
	cmfs_stop c
	cmp "$wanted" "$T/host/img" || fail "$what: the image after unmount"

	rm "$T/host/img" "$T/host/img.probe"
	truncate -s 8000001 "$T/host/img"
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	if served_by_kernel "$mode" direct && [ "$align" -gt 512 ]; then
		verified 0 512 # by the daemon
		verified 1 "$align"
	else
		verified 1 512
	fi
	cmfs_stop c
	expect 8000001 "$(stat -c %s "$T/host/img")" "$what: size after fio"
	rm "$T/host/img"
}

all_modes() {
	align=$(direct_align "$T/host")
	for mode in none directsync writethrough; do
		what="$1, cache=$mode"
		exercise
	done
}

dev= # set by loop_attach
mkdir "$T/mnt" "$T/host"
track_mount "$T/host"
head -c 1000003 /dev/urandom >"$data"

truncate -s 64M "$T/disk"
loop_attach dev --sector-size 4096 "$T/disk"
expect 4096 "$(blockdev --getss "$dev")" "sector size"
mkfs.ext4 -q "$dev"
mount "$dev" "$T/host"
all_modes "ext4 on 4096"
umount "$T/host"
loop_detach "$dev"
rm "$T/disk"

truncate -s 300M "$T/disk"
loop_attach dev "$T/disk"
mkfs.xfs -q "$dev"
mount "$dev" "$T/host"
all_modes "XFS on 512"
umount "$T/host"
loop_detach "$dev"

mount -t tmpfs -o size=64m tmpfs "$T/host"
if dd if="$data" of="$T/host/probe" oflag=direct bs=4096 count=1 status=none 2>/dev/null; then
	rm "$T/host/probe"
	all_modes tmpfs
else
	echo "tmpfs of this kernel has no O_DIRECT"
fi
umount "$T/host"
