#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# snapshot=on beside other options: those that contradict it are refused (P10), a folder
# for the overlay that cannot be used too; readonly wins; each mode can be switched to
# live; an image with an overlay and one without share a mount; and power cuts, faults and
# the write log see the overlay, not the image.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

img=$T/mnt/img
mkdir "$T/mnt" "$T/tmp"
head -c 1M /dev/urandom >"$T/img"
cp "$T/img" "$T/old"

refused() { # MESSAGE ARG...
	local message wanted=$1 status=0
	shift
	message=$("$CMFS" "$@" "$T/mnt" 2>&1) || status=$?
	[ "$status" != 0 ] || fail "cmfs $* is not refused"
	case $message in *"$wanted"*) ;; *) fail "cmfs $*: $message" ;; esac
	expect 1 "$(wc -l <<<"$message")" "lines of: $message"
	mounted "$T/mnt" && fail "cmfs $*: refused, but mounted"
	return 0
}

unchanged() { # WHEN
	cmp "$T/old" "$T/img" || fail "$1: the image has changed"
}

status() {
	getfattr --absolute-names --only-values -n user.cmfs.commit "$1"
}

commit() {
	LC_ALL=C setfattr -n user.cmfs.commit -v "${2:-now}" "$1" 2>&1
}

refused "persist=on stores modes on the image, which snapshot=on never changes" \
	-o snapshot=on,persist "$T/img"
refused "syncflag=on serves passthrough, which snapshot=on forbids" -o snapshot=on,syncflag=on "$T/img"
refused "passthrough=on" -o snapshot=on,passthrough=on "$T/img"
refused "snapshot=perhaps: no such value" -o snapshot=perhaps "$T/img"
TMPDIR=$T/none refused "$T/img: snapshot=on: cannot keep an overlay in $T/none: No such file" \
	-o snapshot=on "$T/img"

# Without an overlay there is nothing to commit; a read-only image has none.
cp "$T/img" "$T/plain"
cmfs_start c --drive "file=$T/img,snapshot=on" --drive "file=$T/plain" \
	--drive "file=$T/old,name=ro,readonly=on,snapshot=on" "$T/mnt"
printf x | dd of="$img" conv=notrunc status=none
printf x | dd of="$T/mnt/plain" conv=notrunc status=none
printf x | dd of="$T/mnt/ro" conv=notrunc status=none 2>/dev/null && fail "readonly was written"
expect uncommitted=4096 "$(status "$img")"
expect off "$(status "$T/mnt/plain")"
expect off "$(status "$T/mnt/ro")"
expect "daemon: snapshot=on" "$(getfattr --absolute-names --only-values -n user.cmfs.datapath "$img")"
for file in plain ro; do
	message=$(commit "$T/mnt/$file") && fail "$file has no overlay, but was committed"
	case $message in *"not supported"*) ;; *) fail "$file: $message" ;; esac
done
message=$(commit "$img" later) && fail "a commit 'later'"
case $message in *"Invalid argument"*) ;; *) fail "a commit 'later': $message" ;; esac
message=$(LC_ALL=C setfattr -x user.cmfs.commit "$img" 2>&1) && fail "a commit was removed"
case $message in *"Read-only"*) ;; *) fail "a commit that is removed: $message" ;; esac
unchanged "beside another image"
commit "$T/mnt" # of those that have one
expect x "$(head -c 1 "$T/img")" "the image that was committed by the root directory"
cp "$T/old" "$T/img"
expect x "$(head -c 1 "$T/plain")" "the image without an overlay"
cmfs_stop c

cmfs_start c "$T/plain" "$T/mnt"
message=$(commit "$T/mnt") && fail "a commit where no image has an overlay"
case $message in *"not supported"*) ;; *) fail "a commit without overlays: $message" ;; esac
cmfs_stop c

# Behind the kernel's write cache what it has acknowledged is committed, too.
cmfs_start c -o snapshot=on,fixed-mode "$T/img" "$T/mnt"
printf cached | dd of="$img" conv=notrunc status=none
unchanged "with fixed-mode"
commit "$img"
expect cached "$(head -c 6 "$T/img")" "committed with fixed-mode"
sync "$img"
cmfs_stop c
cp "$T/old" "$T/img"

# Live switches: the overlay goes along, also over one with O_DIRECT.
cmfs_start c -o snapshot=on "$T/img" "$T/mnt"
cp "$T/old" "$T/wanted"
fileop_start
ok open 1 "$img"
at=1000
for mode in $modes writeback; do
	ok cache 1 "$mode"
	ok write 1 $at 5000 "${mode:0:1}"
	head -c 5000 /dev/zero | tr '\0' "${mode:0:1}" |
		dd of="$T/wanted" bs=1000 seek=$((at / 1000)) conv=notrunc status=none
	cmp "$T/wanted" "$img" || fail "after a switch to $mode"
	at=$((at + 20000))
done
fileop_stop
unchanged "after switches"
commit "$img"
cmp "$T/wanted" "$T/img" || fail "committed after switches"
cmfs_stop c
cp "$T/old" "$T/img"

# Power cuts: what was durable is in the overlay, and the image is what it was.
cmfs_start c -o snapshot=on,powercut=on "$T/img" "$T/mnt"
printf durable | dd of="$img" conv=notrunc,fsync status=none
printf not-yet | dd of="$img" conv=notrunc status=none
setfattr -n user.cmfs.powercut -v lose "$img"
expect durable "$(head -c 7 "$img")" "after a power cut"
unchanged "after a power cut"
printf not-yet | dd of="$img" conv=notrunc status=none
commit "$img" # makes all durable
expect not-yet "$(head -c 7 "$T/img")" "committed out of the power-cut layer"
setfattr -n user.cmfs.powercut -v lose "$img"
expect not-yet "$(head -c 7 "$img")" "a cut after the commit"
cmfs_stop c
cp "$T/old" "$T/img"

# Faults and the write log.
cmfs_start c -o "snapshot=on,fault=write:EIO:range=64k-128k,log-writes=$T/log" "$T/img" "$T/mnt"
printf x | dd of="$img" bs=64k seek=1 conv=notrunc status=none 2>/dev/null && fail "no fault"
printf x | dd of="$img" bs=64k seek=2 conv=notrunc status=none
unchanged "with faults and a log"
commit "$img"
expect x "$(dd if="$T/img" bs=64k skip=2 count=1 status=none | head -c 1)"
grep -q "^1" <<<"$(getfattr --absolute-names --only-values -n user.cmfs.mark "$img")" ||
	fail "the write log has no entry"
cmfs_stop c
