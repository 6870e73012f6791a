#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Requests that take long: the host's file system is frozen, and many big writes to
# an image on it wait. Other images are served meanwhile, also while a switch waits
# for the writes and holds its gate; when all workers wait, it all goes on once the
# host does. SIGTERM and an abort meanwhile are clean ends (P12).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

command -v fsfreeze >/dev/null || skip "no fsfreeze"

truncate -s 300M "$T/disk"
mkfs.ext4 -q "$T/disk" || skip "no mkfs.ext4"
dev=""
loop_attach dev "$T/disk"
mkdir "$T/host" "$T/mnt"
mount "$dev" "$T/host" || skip "cannot mount ext4"
track_mount "$T/host"
slow=$T/host/slow fast=$T/fast
dd if=/dev/zero of="$slow" bs=1M count=80 conv=fsync status=none
head -c 4M /dev/urandom >"$fast"
mkdir "$T/data"
head -c 1M /dev/urandom >"$T/data/1M"

# However the test ends, the host must not stay frozen.
frozen=0
thaw() {
	[ $frozen = 0 ] || fsfreeze -u "$T/host"
	frozen=0
}
trap 'thaw; cleanup' EXIT

writers=()
write_some() { # FROM TO: a process for each megabyte
	local i
	for ((i = $1; i < $2; i++)); do
		dd if="$T/data/1M" of="$T/mnt/slow" bs=1M seek="$i" conv=notrunc oflag=direct \
			status=none 2>"$T/data/log.$i" &
		writers+=($!)
	done
}

# Until so many threads of the daemon are within host calls or at the gate.
wait_busy() { # COUNT
	local i n
	for ((i = 0; i < 200; i++)); do
		n=$(find "/proc/${PID[c]}/task" -mindepth 1 -maxdepth 1 | wc -l)
		[ "$n" -lt "$1" ] || return 0
		sleep 0.05
	done
	fail "only $n threads, of $1"
}

freeze() {
	frozen=1
	fsfreeze -f "$T/host"
}

other_image_is_served() {
	timeout 20 cmp -n 1M "$fast" "$T/mnt/fast" || fail "$1: another image is not served"
	timeout 20 dd if="$T/data/1M" of="$T/mnt/fast" bs=1M seek=1 conv=notrunc oflag=direct \
		status=none || fail "$1: another image cannot be written"
	cmp "$T/data/1M" <(dd if="$fast" bs=1M skip=1 count=1 status=none)
}

wait_writers() {
	local pid
	for pid in "${writers[@]}"; do
		wait "$pid" || [ $# -gt 0 ] || fail "a writer: $(cat "$T"/data/log.*)"
	done
	writers=()
}

start() {
	cmfs_start c -o cache=none "$slow" "$fast" "$T/mnt"
	freeze
}

start
write_some 0 12
sleep 0.3
other_image_is_served "12 writes wait"
setfattr -n user.cmfs.cache -v directsync "$T/mnt/slow" &
switch=$!
sleep 0.2
write_some 12 24
sleep 0.3
other_image_is_served "a switch waits, too"
write_some 24 60
wait_busy 33
thaw
wait_writers
wait "$switch" || fail "the switch"
expect directsync "$(getfattr --only-values -n user.cmfs.cache "$T/mnt/slow")"
cmfs_stop c
for ((i = 0; i < 60; i++)); do
	cmp -n 1M -i 0:$((i << 20)) "$T/data/1M" "$slow" || fail "megabyte $i is not there"
done

for how in TERM abort; do
	start
	write_some 0 40
	wait_busy 33
	if [ $how = TERM ]; then
		kill -TERM "${PID[c]}"
	else
		umount -f "$T/mnt" 2>/dev/null || true # busy, but aborted
	fi
	sleep 0.5
	kill -0 "${PID[c]}" || fail "$how: did not wait for its writes"
	thaw
	cmfs_wait c
	wait_writers "may fail"
	! mounted "$T/mnt" || umount "$T/mnt"
done
