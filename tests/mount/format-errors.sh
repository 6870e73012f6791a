#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What cannot be shown is refused in one line that names the image, the format and what is
# wrong, in qemu-nbd's words where it is what found out; nothing is mounted, no qemu-nbd is
# left (P10). And the one line of advice for an image that is not raw though nobody said so.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/format.sh
. "$LIB/format.sh"

mkdir "$T/mnt"
qemu-img create -q -f qcow2 "$T/disk.qcow2" 1M
truncate -s 1M "$T/disk.raw"
cp "$T/disk.qcow2" "$T/broken.qcow2"
printf '\377\377' | dd of="$T/broken.qcow2" bs=1 seek=20 conv=notrunc status=none # cluster size
qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 "$T/orphan.qcow2"
sed -i 's/disk\.qcow2/gone\.qcow2/' "$T/orphan.qcow2"
before=$(sha256sum "$T"/*.qcow2 "$T"/*.raw)
ONLY="" # a PATH, if not empty

refused() { # STATUS WORDS ARGUMENT...
	local wanted=$1 words=$2 status=0
	shift 2
	PATH=${ONLY:-$PATH} "$CMFS" "$@" "$T/mnt" 2>"$T/err" || status=$?
	cat "$T/err"
	expect "$wanted" $status "$*: exit status"
	expect 1 "$(wc -l <"$T/err")" "$*: lines"
	grep -qF -- "$words" "$T/err" || fail "$*: does not say: $words"
	! mounted "$T/mnt" || fail "$*: mounted"
	! pgrep -f "qemu-nbd.*$T/" || fail "$*: a qemu-nbd is left"
}

refused 1 "disk.raw: format=qcow2: qemu-nbd: Image is not in qcow2 format" \
	--drive "file=$T/disk.raw,format=qcow2"
refused 1 "disk.qcow2: format=vmdk: qemu-nbd: invalid VMDK" --drive "file=$T/disk.qcow2,format=vmdk"
refused 1 "broken.qcow2: format=qcow2: qemu-nbd: " --drive "file=$T/broken.qcow2,format=auto"
refused 1 "gone.qcow2" --drive "file=$T/orphan.qcow2,format=qcow2"
refused 1 "nothing: cannot open: No such file" --drive "file=$T/nothing,format=qcow2"
refused 1 "is a directory" --drive "file=$T/mnt,format=qcow2"
refused 2 "raw, auto, qcow2" --drive "file=$T/disk.qcow2,format=qcow3"
refused 1 "with format=raw" --drive "file=nbd+unix:///?socket=$T/none,format=qcow2"
refused 1 "with format=raw" --drive "file=nbd+unix:///?socket=$T/none,format=auto"

# The second image cannot be opened: the first one's qemu-nbd goes with it.
refused 1 "disk.raw: format=qcow2" -o format=qcow2 "$T/disk.qcow2" "$T/disk.raw"

# Nobody has qemu-nbd; for raw images nobody needs it.
mkdir "$T/path"
for tool in fusermount3 mount umount; do
	tool=$(which $tool) && ln -s "$tool" "$T/path/"
done
ONLY=$T/path
refused 1 "package is qemu-utils" --drive "file=$T/disk.qcow2,format=qcow2"
ONLY=""
cmfs=$CMFS
CMFS=raw_cmfs
raw_cmfs() {
	PATH=$T/path exec "$cmfs" "$@"
}
cmfs_start c "$T/disk.raw" "$T/mnt"
CMFS=$cmfs
cmfs_stop c

# It is locked: by QEMU, by another cmfs (P8).
cmfs_start c --drive "file=$T/disk.qcow2,format=qcow2" "$T/mnt"
mkdir "$T/mnt2"
status=0
"$CMFS" --drive "file=$T/disk.qcow2,format=qcow2" "$T/mnt2" 2>"$T/err" || status=$?
cat "$T/err"
expect 1 $status "a second cmfs: exit status"
expect 1 "$(wc -l <"$T/err")" "a second cmfs: lines"
grep -q 'disk.qcow2: format=qcow2: qemu-nbd: Failed to get .*lock' "$T/err" || fail "$(cat "$T/err")"
! qemu-io -f qcow2 -c "read 0 512" "$T/disk.qcow2" >"$T/err" 2>&1 || fail "qemu-io may write"
grep -q lock "$T/err" || fail "$(cat "$T/err")"
cmfs_start d --drive "file=$T/disk.qcow2,format=qcow2,readonly=on,locking=off" "$T/mnt2"
cmfs_stop d
cmfs_stop c

# O_DIRECT where there is none: the words are those for raw images.
if [ "$(id -u)" = 0 ]; then
	mkdir "$T/ram"
	mount -t ramfs none "$T/ram"
	track_mount "$T/ram"
	cp "$T/disk.qcow2" "$T/ram/"
	refused 1 "(ramfs) does not support O_DIRECT" \
		--drive "file=$T/ram/disk.qcow2,format=qcow2,cache=none"
	cmfs_start c --drive "file=$T/ram/disk.qcow2,format=qcow2" "$T/mnt"
	! setfattr -n user.cmfs.cache -v none "$T/mnt/disk.qcow2" 2>"$T/err" || fail "switched"
	grep -q "(ramfs) does not support O_DIRECT" "$T/c.log" || fail "$(cat "$T/c.log")"
	expect writeback "$(getfattr --absolute-names --only-values -n user.cmfs.cache \
		"$T/mnt/disk.qcow2")"
	cmp "$T/mnt/disk.qcow2" "$T/disk.raw" || fail "after a switch that was refused"
	cmfs_stop c
fi
expect "$before" "$(sha256sum "$T"/*.qcow2 "$T"/*.raw)" "the images' content"

# The hint: only where nobody said what the image is.
hints() { # WANTED DRIVE
	cmfs_start c --drive "$2" "$T/mnt"
	expect "$1" "$(grep -c 'byte for byte, and looks like' "$T/c.log" || true)" "$2: hints"
	cmfs_stop c
}
hints 1 "file=$T/disk.qcow2"
grep -q "disk.qcow2: .* qcow2: format=qcow2 would" "$T/c.log" || fail "$(cat "$T/c.log")"
hints 0 "file=$T/disk.qcow2,format=raw"
hints 0 "file=$T/disk.qcow2,format=qcow2"
hints 0 "file=$T/disk.qcow2,format=auto"
grep -q "disk.qcow2: format=qcow2, as it looks" "$T/c.log" || fail "$(cat "$T/c.log")"
hints 0 "file=$T/disk.raw"
hints 0 "file=$T/disk.raw,format=auto"
grep -q "disk.raw: format=raw, as it looks" "$T/c.log" || fail "$(cat "$T/c.log")"
