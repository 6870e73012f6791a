#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A live switch never lets go of the image (P7, P8): in each of the 25, also in those that
# fail, and in a power cut, nobody else gets at it at any moment.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/lock.sh
. "$LIB/lock.sh"
# shellcheck source=../lib/switch.sh
. "$LIB/switch.sh"

lock=$(helper lock_file)
mkdir "$T/mnt"
truncate -s 1M "$T/img"

# Another program that tries to get each byte that we hold, for all of the time.
start_rival() { # BYTE...
	: >"$T/go"
	: >"$T/rival"
	(
		while [ -e "$T/go" ]; do
			for byte in "$@"; do
				status=0
				"$lock" ofd "$T/img" "$byte" 1 </dev/null || status=$?
				echo "$status"
			done
		done >>"$T/rival"
	) &
	PID["rival"]=$!
	: >"$T/rival.log"
}

end_rival() { # WHAT
	rm "$T/go"
	wait "${PID["rival"]}"
	unset "PID[rival]"
	echo "$1: $(grep -cx 1 "$T/rival") attempts were refused"
	! grep -vx 1 "$T/rival" || fail "$1: somebody got a byte that is ours"
	[ "$(wc -l <"$T/rival")" -ge 10 ] || fail "$1: too few attempts to tell"
}

switch() { # MODE
	setfattr -n user.cmfs.cache -v "$1" "$T/mnt/img"
}

holds() { # WHAT
	expect "$bytes" "$(locks "$T/img")" "$1"
}

bytes="100-101 103 201 203"
cmfs_start c "$T/img" "$T/mnt"
start_rival 100 101 103 201 203
exec {handle}<>"$T/mnt/img"
for mode in $all_switches $all_switches; do
	switch "$mode"
	holds "switched to $mode"
	! qemu-io -f raw -c quit "$T/img" >"$T/qemu-io.log" 2>&1 || fail "$mode: qemu-io got in"
done
setfattr -x user.cmfs.cache "$T/mnt/img"
holds "reverted"
exec {handle}<&-
end_rival "switches"
cmfs_stop c

# The new opening is there, and what comes next fails.
cmfs_start c -o fault=reopen:EIO,powercut "$T/img" "$T/mnt"
start_rival 100 101 103 201 203
for mode in $modes; do
	[ "$mode" = writeback ] || ! switch "$mode" 2>"$T/err" || fail "$mode: switched"
	holds "not switched to $mode"
done
setfattr -n user.cmfs.fault -v off "$T/mnt/img"
for _ in 1 2 3; do
	setfattr -n user.cmfs.powercut -v lose "$T/mnt/img"
	holds "after a power cut"
	switch none
	switch directsync
	holds "switched after a power cut"
done
end_rival "failed switches and power cuts"
cmfs_stop c
expect "" "$(locks "$T/img")" "unmounted"
