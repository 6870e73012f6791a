#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who may switch: the image's owner and root. Somebody who may only write gets EPERM,
# and somebody who may only read can see the mode.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

[ "$(id -u)" = 0 ] || skip "becoming another user needs root"
key=user.cmfs.cache
nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

get() {
	nobody getfattr --absolute-names --only-values -n $key "$T/mnt/img"
}

denied() { # COMMAND...
	if nobody "$@" 2>"$T/err"; then
		fail "$*: worked"
	fi
	grep -q "Operation not permitted" "$T/err" || fail "$*: $(cat "$T/err")"
	expect none "$(get)"
}

chmod 755 "$T"
mkdir "$T/mnt"
echo hello >"$T/img"
chmod 666 "$T/img"
cmfs_start c -o cache=none,allow_other "$T/img" "$T/mnt"
nobody tee "$T/mnt/img" <<<"by nobody" >/dev/null
expect "by nobody" "$(cat "$T/img")" "it may write"
denied setfattr -n $key -v unsafe "$T/mnt/img"
denied setfattr -n $key -v none "$T/mnt/img"
denied setfattr -x $key "$T/mnt/img"
nobody setfattr -n user.note -v hello "$T/mnt/img" # as on any file it may write
expect 0 "$(grep -c "is now" "$T/c.log" || true)" "switches in the log"

chmod 644 "$T/mnt/img"
expect none "$(get)" "a reader sees it"
if nobody setfattr -n $key -v unsafe "$T/mnt/img" 2>/dev/null; then
	fail "a reader switches"
fi

chown 65534:65534 "$T/mnt/img"
nobody setfattr -n $key -v unsafe "$T/mnt/img"
expect unsafe "$(get)" "the owner's switch"
nobody setfattr -x $key "$T/mnt/img"
expect none "$(get)" "the owner's removal"
setfattr -n $key -v directsync "$T/mnt/img"
expect directsync "$(get)" "root's switch"
cmfs_stop c
