#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Whatever is open already, with a mapping or from before a mode switch: any open(2)
# succeeds, reads and writes on both handles work and see one content (P9). On the
# real kernel, which answers EIO where kinds of handles do not mix; as root, and as an
# unprivileged user by fusermount3, for whom there is no passthrough.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/user.sh
. "$LIB/user.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
# On a file system with a sync flag, so that every switch is possible.
hostfs_make host ext4
mkdir "$T/mnt"
head -c 1M /dev/zero >"$T/host/img"

pairs() { # MNT MODE HOW
	"$(helper open_pairs)" "$1/img" "$T/host/img" "$3" >"$T/out" 2>&1 ||
		{ head -n 40 "$T/out" && fail "$2, $3: $(tail -n 1 "$T/out")"; }
	echo "$2, $3: $(tail -n 1 "$T/out")"
}

for mode in $modes; do
	cmfs_start c -o cache="$mode" "$T/host/img" "$T/mnt"
	pairs "$T/mnt" "$mode" plain
	pairs "$T/mnt" "$mode" map
	[ "$mode" != writeback ] || pairs "$T/mnt" "any mode" switch
	cmfs_stop c
	! has_sync_flag "$T/host/img" || fail "$mode: the sync flag is left"
done

# As a user. A /dev/fuse for everyone, in a /dev that only this namespace sees.
if [ ! -u "$(command -v fusermount3)" ]; then
	echo "no set-user-ID fusermount3: not tried as a user"
	exit 0
fi
mkdir "$T/u"
user_dev
chmod 755 "$T" "$T/host"
chown 65534:65534 "$T/u" "$T/host/img"
cp "$(helper open_pairs)" "$T/open_pairs"
cp "$CMFS" "$T/cmfs"
helper() {
	echo "$T/user_$1"
}
printf '#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups %s "$@"\n' \
	"$T/open_pairs" >"$T/user_open_pairs"
chmod 755 "$T/user_open_pairs"
pid=""
for mode in $modes; do
	user "$T/cmfs" -o cache="$mode" "$T/host/img" "$T/u" || fail "$mode: no mount"
	daemon_of pid "$T/u"
	pairs "$T/u" "a user, $mode" plain
	pairs "$T/u" "a user, $mode" map
	[ "$mode" != writeback ] || pairs "$T/u" "a user, any mode" switch
	user fusermount3 -u "$T/u"
	daemon_gone "$pid"
done
cd /
