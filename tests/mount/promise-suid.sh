#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A write by an unprivileged user takes the set-user-ID and set-group-ID bits from the
# image, as on any file; root's write does not have to. In every mode, through write,
# truncate, fallocate and O_TRUNC.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

[ "$(id -u)" = 0 ] || skip "becoming another user needs root"
nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

chmod 755 "$T"
mkdir "$T/mnt"
for mode in $modes; do
	truncate -s 64K "$T/img"
	chmod 6777 "$T/img"
	cmfs_start c -o cache="$mode",allow_other "$T/img" "$T/mnt"
	for command in "dd if=/dev/zero of=IMG bs=4096 count=1 conv=notrunc status=none" \
		"dd if=/dev/zero of=IMG bs=10 seek=1 count=1 conv=notrunc status=none" \
		"dd if=/dev/zero of=IMG bs=4096 count=1 conv=notrunc oflag=direct status=none" \
		"truncate -s 60000 IMG" \
		"fallocate -l 100000 IMG" \
		"cp /dev/null IMG"; do
		chmod 6777 "$T/mnt/img"
		expect 6777 "$(stat -c %a "$T/mnt/img")" "before"
		# shellcheck disable=SC2086 # words
		nobody ${command//IMG/$T/mnt/img}
		expect 777 "$(stat -c %a "$T/img")" "$mode, $command: the host file"
		expect 777 "$(stat -c %a "$T/mnt/img")" "$mode, $command: in the mount"
	done
	cmfs_stop c
	rm "$T/img"
done
