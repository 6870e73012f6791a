#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# As an unprivileged user, by fusermount3: mount one's own image, write, switch, unmount
# with fusermount3 -u, mount over a dead mount; what a user may not is refused in one
# line. In a mount namespace of our own, as /dev/fuse may be for root alone.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/user.sh
. "$LIB/user.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"

[ "$(id -u)" = 0 ] || skip "becoming another user needs root"
[ -u "$(command -v fusermount3)" ] || skip "there is no set-user-ID fusermount3"
get() {
	user getfattr --absolute-names --only-values -n user.cmfs.cache "$T/u/mnt/img"
}

# A /dev/fuse for everyone, in a /dev that only this namespace sees.
mkdir "$T/u" "$T/u/mnt"
user_dev
chmod 755 "$T"
cp "$CMFS" "$T/cmfs"
chown 65534:65534 "$T/u" "$T/u/mnt"
user head -c 1M /dev/zero >"$T/zeroes"
user cp "$T/zeroes" "$T/u/img"
cd "$T/u"

pid=""
for mode in $modes; do
	user "$T/cmfs" -o cache="$mode" -P "$T/u/pid" img "$T/u/mnt" || fail "$mode: no mount"
	mounted "$T/u/mnt" || fail "$mode: the command returned, but there is no mount"
	daemon_of pid "$T/u/mnt"
	expect 65534 "$(stat -c %u "/proc/$pid")" "the daemon's user"
	expect "$mode" "$(get)"
	expect "65534 755" "$(user stat -c '%u %a' "$T/u/mnt")" "the root directory"
	echo "hello $mode" | user dd of="$T/u/mnt/img" conv=notrunc,fsync status=none
	for to in $modes; do
		user setfattr -n user.cmfs.cache -v "$to" "$T/u/mnt/img"
		expect "$to" "$(get)"
		user dd if=/dev/zero of="$T/u/mnt/img" bs=4096 seek=5 count=2 oflag=direct \
			conv=notrunc status=none
	done
	# Without allow_other not even root may look, as for any FUSE mount.
	! stat "$T/u/mnt/img" 2>/dev/null || fail "others may look"
	user fusermount3 -u "$T/u/mnt"
	daemon_gone "$pid"
	! mounted "$T/u/mnt" || fail "still mounted"
	[ ! -e "$T/u/pid" ] || fail "the pid file is still there"
	expect "hello $mode" "$(head -n 1 "$T/u/img" | tr -d '\0')" "the image"
done

# A dead one goes by itself.
user "$T/cmfs" img "$T/u/mnt"
daemon_of pid "$T/u/mnt"
kill -KILL "$pid"
daemon_gone "$pid"
user "$T/cmfs" img "$T/u/mnt" || fail "no mount over a dead one"
daemon_of pid "$T/u/mnt"
user head -c 5 "$T/u/mnt/img" >/dev/null
kill -TERM "$pid"
daemon_gone "$pid"
! mounted "$T/u/mnt" || fail "still mounted after SIGTERM"

# What a user may not.
echo theirs >"$T/theirs"
chmod 644 "$T/theirs"
mkdir "$T/rootdir"
refused() { # PATTERN ARG...
	local pattern=$1 status=0
	shift
	user "$T/cmfs" "$@" 2>"$T/err" || status=$?
	cat "$T/err"
	expect 1 "$status" "status of cmfs $*"
	expect 1 "$(wc -l <"$T/err")" "lines of cmfs $*"
	grep -qE "^cmfs: .*$pattern" "$T/err" || fail "cmfs $*: not '$pattern'"
	! mounted "$T/u/mnt" || fail "cmfs $*: mounted all the same"
}
refused "theirs: .*Permission denied" "$T/theirs" "$T/u/mnt"
user "$T/cmfs" -o ro "$T/theirs" "$T/u/mnt" || fail "a file that one may read, read-only"
daemon_of pid "$T/u/mnt"
expect theirs "$(user cat "$T/u/mnt/theirs")"
user fusermount3 -u "$T/u/mnt"
daemon_gone "$pid"
refused "rootdir: .*(no write access|[Pp]ermission)" img "$T/rootdir"
grep -qs '^user_allow_other' /etc/fuse.conf ||
	refused "mnt: .*user_allow_other" -o allow_other img "$T/u/mnt"
cd /
