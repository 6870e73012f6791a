#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Space and sizes under the power-cut layer: space that was given back before it got to
# the host is not asked for there, and sizes that no host has end nothing but themselves
# (also with a write log).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

img=$T/mnt/img
mkdir "$T/mnt"

allocated() { # KiB that the host file has
	echo $(($(stat -c '%b * %B' "$T/img") / 1024))
}

truncate -s 1M "$T/img"
cmfs_start c -o powercut=on,cache=writeback "$T/img" "$T/mnt"
fallocate -l 64M "$img"
truncate -s 4096 "$img"
sync "$img"
expect 4096 "$(stat -c %s "$T/img")" "size"
[ "$(allocated)" -le 1024 ] || fail "$(allocated) KiB for a file that was cut to 4"
fallocate -o 1M -l 32M "$img"
fallocate -p -o 0 -l 40M "$img"
sync "$img"
[ "$(allocated)" -le 1024 ] || fail "$(allocated) KiB for a range that was punched"
fallocate -o 0 -l 8M "$img"
sync "$img"
[ "$(allocated)" -ge 8192 ] || fail "control: only $(allocated) KiB of 8 MiB are there"
cmfs_stop c

for mode in writeback none; do
	rm -f "$T/log"
	truncate -s 1M "$T/img"
	cmfs_start c -o "powercut=on,log-writes=$T/log,cache=$mode" "$T/img" "$T/mnt"
	truncate -s 9223372036854775807 "$img" || true # as the kernel has it
	setfattr -n user.cmfs.powercut -v lose "$img"
	expect 1048576 "$(stat -c %s "$img")" "$mode: size after the cut"
	cmfs_stop c 1 # the log ends with the cut, and says so
done
