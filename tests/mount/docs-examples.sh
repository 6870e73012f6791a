#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The examples work as they stand, in each mode that they take, and leave nothing
# behind: no file, mount, loop device or daemon. Those that fail say so and leave
# nothing either. README.md's tour works, too.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
TOP=$(realpath "$LIB/../..")
[ "$(id -u)" = 0 ] || skip "needs root, for losetup and mount"
export TMPDIR=$T/work

nothing_left() { # WHAT
	expect "" "$(ls -A "$TMPDIR")" "$1: files left"
	! grep -F " $T/" /proc/mounts || fail "$1: still mounted"
	! losetup -a | grep -F "$T/" || fail "$1: a loop device is left"
	local p
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/exe")" = "$(realpath "$CMFS")" ] || continue
		! readlink "$p"/fd/* | grep -F "$T/" || fail "$1: daemon ${p#/proc/} is left"
	done
}

works() { # SCRIPT [ARG...]
	local status=0
	"$TOP/examples/$1" "${@:2}" >"$T/out" 2>&1 || status=$?
	[ $status = 0 ] || { cat "$T/out" && fail "$*: status $status"; }
	nothing_left "$*"
}

mkdir "$TMPDIR"
for script in "$TOP"/examples/*.sh; do
	[ -x "$script" ] || continue
	"$script" -h | grep -q '^usage: examples/' || fail "$script -h: no usage"
done
nothing_left "-h"

(cd / && works quickstart.sh)
grep -q '^# Shown: cache=directsync' "$T/out" || fail "quickstart.sh: no closing line"
works quickstart.sh # and once more
works loop-mount.sh
works loop-mount.sh directsync
works sqlite.sh
works sqlite.sh writeback
works file-mount.sh
works file-mount.sh writethrough
works fsync-durability.sh
for mode in $modes; do
	grep -q "^$mode .*| 20 of 20$" "$T/out" || { cat "$T/out" && fail "no line for $mode"; }
done

# Power cuts: with the promise kept, and where there is none.
export CUTS=2
works powercut-ext4.sh writeback directsync unsafe
grep -Eq '^writeback +\| 2 +\| [0-9]+ +\| 0 +\| clean$' "$T/out" || { cat "$T/out" && fail "ext4"; }
grep -E '^unsafe ' "$T/out" | grep -Evq '\| 0 +\| clean' || { cat "$T/out" && fail "ext4, unsafe"; }
works powercut-sqlite.sh none unsafe
grep -Eq '^none +\| WAL +\| 2 +\| [0-9]+ +\| 0 +\| sound$' "$T/out" || { cat "$T/out" && fail sqlite; }
grep -E '^unsafe ' "$T/out" | grep -Evq '\| 0 +\| sound' || { cat "$T/out" && fail "sqlite, unsafe"; }
# shellcheck disable=SC2016 # for the shell that runs it
saves='for i in 1 2 3 4 5 6 7 8 9; do echo $i >$i; $0 $i || exit; sha256sum $i >>$ACKED; done; sleep 1'
works fsync-check.sh -n 4 -m writeback sh -c "$saves" sync
grep -q '^# 0 of 4 cuts lost acknowledged data$' "$T/out" || { cat "$T/out" && fail "fsync-check"; }
! "$TOP/examples/fsync-check.sh" -n 2 sh -c "$saves" true >"$T/out" 2>&1 || fail "true is no fsync"
grep -q '^# [12] of 2 cuts lost acknowledged data: ' "$T/out" || { cat "$T/out" && fail "fsync-check"; }
nothing_left "fsync-check.sh without fsync"
! "$TOP/examples/fsync-check.sh" -m unsafe -n 2 -c 'test -e 9' sh -c "$saves" sync >"$T/out" 2>&1 ||
	fail "unsafe kept all"
nothing_left "fsync-check.sh in unsafe"
! "$TOP/examples/fsync-check.sh" -n 2 true >"$T/out" 2>&1 || fail "nothing was acknowledged"
grep -q 'has acknowledged nothing' "$T/out" || { cat "$T/out" && fail "fsync-check"; }
nothing_left "fsync-check.sh true"
! "$TOP/examples/fsync-check.sh" -m bogus true >"$T/out" 2>&1 || fail "fsync-check.sh -m bogus"
nothing_left "fsync-check.sh -m bogus"

# A failure is told, and cleaned up after, early or late.
for script in loop-mount sqlite file-mount fsync-durability powercut-ext4 powercut-sqlite; do
	! "$TOP/examples/$script.sh" bogus >"$T/out" 2>&1 || fail "$script.sh bogus: success"
	nothing_left "$script.sh bogus"
done
mkdir "$T/bin"
printf '#!/bin/sh\nexit 8\n' >"$T/bin/e2fsck"
chmod +x "$T/bin/e2fsck"
for script in loop-mount sqlite fsync-durability quickstart; do
	! PATH=$T/bin:$PATH "$TOP/examples/$script.sh" >"$T/out" 2>&1 ||
		fail "$script.sh: success with a broken e2fsck"
	nothing_left "$script.sh with a broken e2fsck"
done

# The tour, moved to our folder, with its end checked.
awk '/^## /{ on = ($0 == "## A tour") } on && /^    /' "$TOP/README.md" |
	sed "s/^    //; s,/var/tmp/,$T/work/,g; s,/run/,$T/work/,g" >"$T/tour"
expect 10 "$(wc -l <"$T/tour")" "lines of the tour"
rm "$T/bin/e2fsck"
ln -s "$CMFS" "$T/bin/cmfs"
PATH=$T/bin:$PATH bash -e "$T/tour" >"$T/out" 2>&1 || { cat "$T/out" && fail "the tour"; }
grep -q '02150002' "$T/out" || fail "the tour shows no directsync descriptor"
grep -q 'user.cmfs.cache="none"' "$T/out" || fail "the tour did not switch"
grep -q 'No errors were found' "$T/out" || fail "the tour: qemu-img check"
rm "$T/work/vm.qcow2"
nothing_left "the tour"
