#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# As an unprivileged user, by fusermount3, a file as mountpoint: one's own image over
# itself, written, switched, unmounted by fusermount3 -u and by a signal, mounted over a
# dead mount; not over a file that one may not write to. In a mount namespace of our own,
# see cli-unprivileged.sh.
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
mkdir "$T/u"
user_dev
chmod 755 "$T"
cp "$CMFS" "$T/cmfs"
chown 65534:65534 "$T/u"
cd "$T/u"
img=$T/u/img
user truncate -s 1M img
ln img host

pid=""
for mode in $modes; do
	user "$T/cmfs" -o cache="$mode" -P "$T/u/pid" img img || fail "$mode: no mount"
	mounted "$img" || fail "$mode: the command returned, but there is no mount"
	daemon_of pid img
	expect 65534 "$(stat -c %u "/proc/$pid")" "the daemon's user"
	expect "$mode" "$(user getfattr --only-values -n user.cmfs.cache img)"
	expect "65534 1048576" "$(user stat -c '%u %s' img)" "the image"
	echo "hello $mode" | user dd of=img conv=notrunc,fsync status=none
	expect "hello $mode" "$(head -n 1 host | tr -d '\0')"
	for to in $modes; do
		user setfattr -n user.cmfs.cache -v "$to" img
		user dd if=/dev/zero of=img bs=4096 seek=5 count=2 oflag=direct conv=notrunc status=none
	done
	# Without allow_other not even root may open it, as for any FUSE mount.
	! head -c 1 img >/dev/null 2>&1 || fail "others may read it"
	user fusermount3 -u img
	daemon_gone "$pid"
	! mounted "$img" || fail "still mounted"
	[ ! -e pid ] || fail "the pid file is still there"
	expect "hello $mode" "$(head -n 1 img | tr -d '\0')" "the image"
done

# A dead one goes by itself.
user "$T/cmfs" img img
daemon_of pid img
kill -KILL "$pid"
daemon_gone "$pid"
user "$T/cmfs" img img || fail "no mount over a dead one"
daemon_of pid img
expect "hello unsafe" "$(user head -n 1 img | tr -d '\0')"
kill -TERM "$pid"
daemon_gone "$pid"
! mounted "$img" || fail "still mounted after SIGTERM"

# What a user may not.
echo theirs >"$T/theirs"
chmod 644 "$T/theirs"
refused() { # PATTERN ARG...
	local status=0
	user "$T/cmfs" "${@:2}" 2>"$T/err" || status=$?
	cat "$T/err"
	expect 1 "$status" "status of cmfs ${*:2}"
	expect 1 "$(wc -l <"$T/err")" "lines of cmfs ${*:2}"
	grep -qE "^cmfs: .*$1" "$T/err" || fail "cmfs ${*:2}: not '$1'"
	! grep -F " $T/" /proc/mounts | grep fuse.cmfs || fail "cmfs ${*:2}: mounted all the same"
}
refused "theirs: .*[Pp]ermission denied" img "$T/theirs"
refused "theirs: .*[Pp]ermission denied" -o ro "$T/theirs" "$T/theirs"
user "$T/cmfs" -o ro "$T/theirs" img || fail "another's file over one's own"
daemon_of pid img
expect theirs "$(user cat img)"
user fusermount3 -u img
daemon_gone "$pid"
cd /
