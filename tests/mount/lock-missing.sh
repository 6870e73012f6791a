#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Where the host has no such locks (strace answers in its place): locking=auto says so and
# goes on, through switches too, locking=on refuses (P10), locking=off does not ask. What
# fails otherwise is an error.
CMFS_DETECT_LEAKS=0 # LeakSanitizer does not work in a traced process
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/lock.sh
. "$LIB/lock.sh"

command -v strace >"$T/strace" || skip "no strace"
mkdir "$T/mnt"
truncate -s 1M "$T/img"
real=$CMFS

# host_says ERRNO: from now on cmfs gets it from each fcntl(2) on the image
host_says() {
	printf '#!/bin/sh\nexec strace -f -o "%s" -P "%s" -e trace=fcntl %s "%s" "$@"\n' \
		"$T/trace" "$T/img" "-e inject=fcntl:error=$1" "$real" >"$T/traced"
	chmod 755 "$T/traced"
	CMFS=$T/traced
}

asked() { # how often it asked for locks
	grep -c 'F_OFD_.*INJECTED' "$T/trace" || true
}

notices() {
	grep -c 'img: not locked, as its file system has no such locks' "$T/c.log" || true
}

for error in ENOLCK EINVAL EOPNOTSUPP ENOSYS; do
	host_says $error
	for how in rw locking=auto ro; do
		cmfs_start c -o $how "$T/img" "$T/mnt"
		expect 1 "$(notices)" "$error, $how: it says so"
		[ "$(asked)" -gt 0 ] || fail "$error, $how: nothing asked, nothing shown"
		[ $how = ro ] || echo new >"$T/mnt/img"
		[ $how = ro ] || setfattr -n user.cmfs.cache -v writethrough "$T/mnt/img"
		cmfs_stop c
		expect 1 "$(notices)" "$error, $how: it says so once"
	done
	refused "img: locking=on: its file system ([a-z0-9]*) has no open file description locks (.*); locking=auto and locking=off do without" \
		-o locking=on "$T/img" "$T/mnt"
done
cmfs_start c -o locking=off "$T/img" "$T/mnt"
expect 0 "$(asked)" "locking=off: asked"
expect 0 "$(notices)" "locking=off: notices"
cmfs_stop c

for error in EIO EBADF; do
	host_says $error
	for how in locking=auto locking=on; do
		refused "img: cannot be locked: " -o $how "$T/img" "$T/mnt"
	done
done

CMFS=$real
cmfs_start c -o locking=on "$T/img" "$T/mnt"
expect 0 "$(notices)" "notices with locks"
cmfs_stop c
