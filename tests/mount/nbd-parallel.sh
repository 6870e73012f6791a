#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Requests over NBD run side by side: with a server that takes its time, most of 16 that
# are asked for at once are in flight at once, on one connection as on several; and
# several are used where the server offers that, but no more than it lets in.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/nbd.sh
. "$LIB/nbd.sh"

fio --enghelp 2>/dev/null | grep -qw libaio || skip "fio has no libaio engine"
mkdir "$T/mnt"

# The most requests that the server had begun and not ended, and its connections.
most() {
	awk '/ connection=[0-9]+ (Read|Write) /  { if (++n > max) max = n }
		/ connection=[0-9]+ \.\.\.(Read|Write) / { n-- }
		END { print max + 0 }' "$T/s.requests"
}

connections() {
	sed -n 's/.* connection=\([0-9]*\) \(Read\|Write\) .*/\1/p' "$T/s.requests" | sort -u | wc -l
}

run() { # MODE
	cmfs_start c -o cache="$1" "$(nbd_uri s disk)" "$T/mnt"
	fio --name=j --filename="$T/mnt/disk" --direct=1 --rw=randrw --bs=4k --size=1M \
		--ioengine=libaio --iodepth=16 --number_ios=64 --output="$T/fio.log" ||
		fail "$1: fio: $(cat "$T/fio.log")"
	cmfs_stop c
}

for mode in none directsync; do
	for filter in noextents multi-conn; do # the first one changes nothing that counts here
		args=(--filter=log --filter="$filter" --filter=delay memory 1M delay-read=50ms
			delay-write=50ms logfile="$T/s.requests")
		[ $filter = noextents ] || args+=(multi-conn-mode=disable)
		nbd_serve s "${args[@]}"
		run $mode
		[ "$(most)" -ge 8 ] || fail "$mode, $filter: only $(most) requests at once"
		wanted=4
		[ $filter = noextents ] || wanted=1
		expect $wanted "$(connections)" "$mode, $filter: connections"
		nbd_kill s
	done
done

# It says that several are fine and lets two in.
if command -v qemu-nbd >/dev/null; then
	truncate -s 1M "$T/disk"
	nbd_serve_qemu q -e 2 -f raw -x disk "$T/disk"
	cmfs_start c -o cache=none "$(nbd_uri q disk)" "$T/mnt"
	dd if=/dev/urandom of="$T/mnt/disk" bs=64k count=16 conv=notrunc,fsync status=none
	cmp "$T/mnt/disk" "$T/disk"
	cmfs_stop c
fi
