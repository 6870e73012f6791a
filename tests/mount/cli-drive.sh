#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# --drive: options for each image, defaults by -o, commas and names; what is wrong with
# one is said in one line that names it, and nothing is mounted (P10).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
mkdir mnt

get() { # KEY FILE
	getfattr --only-values -n "user.cmfs.$1" "mnt/$2"
}

refused() { # STATUS WORDS ARG...
	local wanted=$1 words=$2 status=0
	shift 2
	"$CMFS" -f "$@" >out 2>err || status=$?
	expect "$wanted" "$status" "cmfs $*: status"
	expect 1 "$(wc -l <err)" "cmfs $*: lines on stderr"
	grep -q -- "$words" err || fail "cmfs $*: '$(cat err)' lacks '$words'"
	! mounted mnt || fail "cmfs $*: mounted"
}

truncate -s 1M db.raw scratch.raw "a,b=c.raw" plain.raw
setfattr -n user.cmfs.cache -v writethrough plain.raw

# Two files in two modes, the flags on their descriptors; the last -o is for the rest.
cmfs_start c --drive file=db.raw,cache=directsync \
	--drive file=scratch.raw,cache=unsafe,name=tmp.img \
	--drive "file=a,,b=c.raw,readonly" -o fault=on plain.raw mnt
expect "a,b=c.raw db.raw plain.raw tmp.img" "$(echo mnt/* | sed "s,mnt/,,g")" "the files"
expect directsync "$(get cache db.raw)"
expect unsafe "$(get cache tmp.img)"
expect writeback "$(get cache "a,b=c.raw")"
expect writethrough "$(get cache plain.raw)" "the stored mode"
for f in db.raw tmp.img "a,b=c.raw" plain.raw; do
	expect none "$(get fault "$f")" "$f: the default of all"
done
fd_flags "${PID[c]}" db.raw | grep -q '^02150002$' ||
	fail "db.raw is open with $(fd_flags "${PID[c]}" db.raw | xargs)"
# Read-only is the image, and not the mount.
fd_flags "${PID[c]}" a,b=c.raw | grep -q '0$' || fail "a,b=c.raw is open for writing"
! dd if=/dev/zero of="mnt/a,b=c.raw" bs=4k count=1 conv=notrunc 2>err || fail "written"
grep -q "Read-only file system" err || fail "$(cat err)"
! truncate -s 0 "mnt/a,b=c.raw" 2>err || fail "truncated"
dd if=/dev/zero of=mnt/tmp.img bs=4k count=1 conv=notrunc status=none
# A switch is one image's.
setfattr -n user.cmfs.cache -v none mnt/tmp.img
expect directsync "$(get cache db.raw)"
cmfs_stop c

# A default that an image overrides.
cmfs_start c -o fault=on,persist,cache=none --drive file=db.raw,fault=off,persist=off,cache=unsafe plain.raw mnt
expect off "$(get fault db.raw)"
expect unsafe "$(get cache db.raw)"
expect none "$(get cache plain.raw)"
setfattr -n user.cmfs.cache -v writeback mnt/db.raw mnt/plain.raw
expect "" "$(getfattr --only-values -n user.cmfs.cache db.raw 2>/dev/null)" "not stored"
expect writeback "$(getfattr --only-values -n user.cmfs.cache plain.raw)" "stored"
cmfs_stop c

# A log for each.
cmfs_start c --drive file=db.raw,log-writes=log1 --drive file=scratch.raw,log-writes=log2 mnt
dd if=/dev/urandom of=mnt/db.raw bs=4k count=3 conv=notrunc,fsync status=none
dd if=/dev/urandom of=mnt/scratch.raw bs=4k count=1 conv=notrunc,fsync status=none
cmfs_stop c
[ "$(stat -c %s log1)" -gt "$(stat -c %s log2)" ] || fail "the logs are mixed up"

# A name by -o, as fstab has it: for one image.
cmfs_start c -o name=x.img db.raw mnt
[ -e mnt/x.img ] || fail "-o name=: $(ls mnt)"
cmfs_stop c
refused 1 "both be called 'x'" -o name=x db.raw scratch.raw mnt

refused 2 "no key 'cachee'" --drive file=db.raw,cachee=none mnt
refused 2 "directsync" --drive file=db.raw,cache=quick mnt
refused 2 "file=PATH is missing" --drive cache=none mnt
refused 2 "'name' needs a value" --drive file=db.raw,name= mnt
refused 2 "without a slash" --drive file=db.raw,name=../x mnt
refused 2 "readonly=maybe" --drive file=db.raw,readonly=maybe mnt
refused 2 "db.raw: readonly=off" -o ro --drive file=db.raw,readonly=off mnt
refused 2 "the log of one image, and db.raw and scratch.raw" -o log-writes=log db.raw scratch.raw mnt
refused 1 "gone.raw: .*No such file" --drive file=gone.raw mnt
refused 1 "same file" --drive file=db.raw --drive file=db.raw,name=other mnt
refused 1 "both be called 'x'.*name=" --drive file=db.raw,name=x --drive file=scratch.raw,name=x mnt
refused 1 "log2: .*new file" --drive file=db.raw,log-writes=log3 --drive file=scratch.raw,log-writes=log2 mnt
[ ! -e log3 ] || fail "a log is left behind (P10)"
