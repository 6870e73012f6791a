#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# user.cmfs.commit: what is in the overlay gets into the image, to the byte, with its
# size and its holes, and durably, in each mode; then the overlay is empty, and goes on.
# How far a commit is can be read meanwhile, and who reads and writes goes on.
CMFS_DETECT_LEAKS=0 # strace
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
img=$T/mnt/img
mkdir "$T/mnt"
hostfs_make host ext4

commit() {
	setfattr -n user.cmfs.commit -v now "$@"
}

progress() {
	getfattr --absolute-names --only-values -n user.cmfs.commit "$img"
}

change() { # FILE
	dd if="$T/new" of="$1" bs=7777 seek=100 count=300 conv=notrunc status=none
	fallocate -p -o 3000001 -l 1000000 "$1"
	fallocate -z -o 3500000 -l 1000000 "$1"
	truncate -s 4800001 "$1"
	truncate -s 6000001 "$1"
	dd if="$T/new" of="$1" bs=4096 seek=1500 count=20 conv=notrunc status=none
	dd if="$T/new" of="$1" bs=1 seek=6600000 count=1 conv=notrunc status=none
}

head -c 5M /dev/urandom >"$T/new"
head -c 5000000 /dev/urandom >"$T/old"
for mode in $modes; do
	cp "$T/old" "$T/host/img"
	cp "$T/old" "$T/wanted"
	change "$T/wanted"
	cmfs_start c -o "snapshot=on,cache=$mode" "$T/host/img" "$T/mnt"
	expect uncommitted=0 "$(progress)" "$mode: at first"
	change "$img"
	case $(progress) in
	"uncommitted=0"* | *committing*) fail "$mode: before the commit: $(progress)" ;;
	"uncommitted="*" resized") ;;
	*) fail "$mode: before the commit: $(progress)" ;;
	esac
	cmp "$T/old" "$T/host/img" || fail "$mode: the image has changed before the commit"
	before=$(flushes host)
	commit "$img"
	[ "$(flushes host)" -gt "$before" ] || fail "$mode: committed, but nothing was flushed"
	expect uncommitted=0 "$(progress)" "$mode: behind the commit"
	cmp "$T/wanted" "$T/host/img" || fail "$mode: the image"
	cmp "$T/wanted" "$img" || fail "$mode: the mount"
	before=$(du -k "$T/host/img" | cut -f 1)
	after=$(du -k "$T/wanted" | cut -f 1)
	[ "$before" -le $((after + 64)) ] || fail "$mode: $before KiB committed, $after KiB wanted"

	# Once more: what comes now is in the overlay again, and thrown away.
	printf x | dd of="$img" conv=notrunc status=none
	expect uncommitted=4096 "$(progress)" "$mode: after another write"
	cmfs_stop c
	cmp "$T/wanted" "$T/host/img" || fail "$mode: the image after the unmount"
done

# A mapping's pages go, too.
cp "$T/old" "$T/host/img"
cmfs_start c -o snapshot=on "$T/host/img" "$T/mnt"
fileop_start
ok open 1 "$img"
ok mmap 1 0 8192
ok poke 1 5000 5 h
commit "$img"
expect hhhhh "$(dd if="$T/host/img" bs=1 skip=5000 count=5 status=none)" "the mapping's bytes"
fileop_stop
cmfs_stop c

# Who writes by a cached handle reads what he has written, whatever is committed (P9).
for where in "$T/mnt" "$img"; do
	cp "$T/old" "$T/host/img"
	cmfs_start c -o snapshot=on "$T/host/img" "$T/mnt"
	"$(helper coherence)" commits "$img" 15000 "$where" >"$T/coherence" 2>&1 ||
		fail "commits on $where: $(cat "$T/coherence")"
	cmfs_stop c
done

# Meanwhile: the first flush of a commit is held up until both have been seen.
cp "$T/old" "$T/host/img"
cmfs_start c -o snapshot=on "$T/host/img" "$T/mnt"
change "$img"
strace -f -q -e trace=fdatasync -e inject=fdatasync:delay_enter=1500000 -e signal=none \
	-o /dev/null -p "${PID[c]}" 2>"$T/strace.err" &
PID[strace]=$!
: >"$T/strace.log"
for ((i = 0; i < 200; i++)); do
	grep -qs '^TracerPid:[[:space:]]*0$' "/proc/${PID[c]}/status" || break
	sleep 0.05
done
commit "$T/mnt" & # on the root directory: the kernel would have writes of the file wait
PID[commit]=$!
: >"$T/commit.log"
seen=""
while kill -0 "${PID[commit]}" 2>/dev/null; do
	seen=$(progress)
	case $seen in *committing=[1-9]*) break ;; esac
	sleep 0.01
done
case $seen in
*" committing="[1-9]*/[1-9]*) ;;
*) fail "a commit's progress: '$seen'" ;;
esac
printf meanwhile | dd of="$img" bs=1 seek=100 conv=notrunc status=none
expect meanwhile "$(dd if="$img" bs=1 skip=100 count=9 status=none)"
case $(progress) in *committing=*) ;; *) fail "the write has waited for the commit" ;; esac
cmfs_wait commit
kill "${PID[strace]}"
wait "${PID[strace]}" || true
unset "PID[strace]"
expect uncommitted=0 "$(progress)" "at the end"
change "$T/old"
printf meanwhile | dd of="$T/old" bs=1 seek=100 conv=notrunc status=none
cmp "$T/old" "$T/host/img" || fail "the image after a commit under load"
grep -q "^cmfs: img: committed [1-9][0-9]* bytes to the image" "$T/c.log" || fail "not logged"
cmfs_stop c
