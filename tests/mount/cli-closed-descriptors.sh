#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Started with standard descriptors closed, an image must not become one of them:
# a message would be written over it (P9), or it would be replaced by /dev/null.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"

mkdir "$T/mnt"
MNT["c"]=$T/mnt # unmounted by the trap if anything fails
head -c 1M /dev/urandom >"$T/img"
cp "$T/img" "$T/copy"

"$CMFS" -P "$T/pid" "$T/img" "$T/mnt" <&- >&-
pid=""
daemon_of pid "$T/mnt"
cmp "$T/mnt/img" "$T/copy"
umount "$T/mnt"
daemon_gone "$pid"

"$CMFS" -f -P "$T/pid" "$T/img" "$T/mnt" 0<&- 1>&- 2>&- &
PID["c"]=$!
: >"$T/c.log"
until mounted "$T/mnt" && [ -s "$T/pid" ]; do
	sleep 0.05
done
! setfattr -n user.cmfs.cache -v nonsense "$T/mnt/img" 2>/dev/null || fail "taken"
setfattr -n user.cmfs.cache -v none "$T/mnt/img" # each says something
cmfs_stop c
cmp "$T/img" "$T/copy"
