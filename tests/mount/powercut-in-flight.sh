#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A power cut on the mount's root directory comes into the middle of what is under way:
# the kernel would have one on the file wait for a write or a flush of it. Those fail and
# are not done, in each mode; all images of the mount lose their power, and faults are
# set for all. Nobody else's keys are there, and not everybody may.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"

mnt=$T/mnt
mkdir "$mnt"
root() { # KEY VALUE
	setfattr -n "user.cmfs.$1" -v "$2" "$mnt"
}

hits() { # N: the fault's delay has begun so often
	getfattr --absolute-names --only-values -n user.cmfs.fault "$mnt/a" | grep -q "hits=$1"
}

# under_way OPERATION DD-ARG...: it is delayed in the daemon when the power is cut
under_way() {
	local status=0
	root fault "$1:delay=1s"
	shift
	dd if="$T/data" of="$mnt/a" bs=4096 count=1 conv=notrunc status=none "$@" 2>"$T/err" &
	wants hits 1 || fail "$mode: $*: it does not come to the daemon"
	root powercut lose
	wait $! || status=$?
	[ $status != 0 ] || fail "$mode: $*: acknowledged, amid a power cut"
	grep -q "Input/output error" "$T/err" || fail "$mode: $*: $(cat "$T/err")"
	cmp "$mnt/a" "$T/old" || fail "$mode: $*: it is there all the same"
}

head -c 4096 /dev/zero | tr '\0' n >"$T/data"
head -c 64K /dev/zero | tee "$T/old" "$T/a" >"$T/b"
for mode in $modes; do
	cmfs_start c -o "powercut=on,fault=on,cache=$mode" "$T/a" "$T/b" "$mnt"
	under_way write
	under_way write oflag=direct
	case $mode in # elsewhere a flush is nothing, or finds nothing to do
	writeback | none) under_way flush conv=notrunc,fsync ;;
	esac

	# The second image is cut, too.
	root fault off
	printf x | dd of="$mnt/b" conv=notrunc status=none
	root powercut lose
	case $mode in
	writethrough | directsync) expect x "$(head -c 1 "$mnt/b")" "$mode: the second image" ;;
	*) cmp "$mnt/b" "$T/old" || fail "$mode: the second image kept what was not durable" ;;
	esac

	! root powercut nonsense 2>/dev/null || fail "a cut that is none"
	! root cache none 2>/dev/null || fail "the mode of all"
	! root keys x 2>/dev/null || fail "a key that is read-only"
	! getfattr -n user.cmfs.powercut "$mnt" 2>/dev/null || fail "of all, it cannot be read"
	cmfs_stop c
	cp "$T/old" "$T/a"
	cp "$T/old" "$T/b"
done

# Without the layer there is nothing to cut.
cmfs_start c "$T/a" "$mnt"
root powercut lose 2>"$T/err" && fail "cut without the layer"
grep -q "not supported" "$T/err" || fail "$(cat "$T/err")"
cmfs_stop c
