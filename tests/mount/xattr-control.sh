#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The control xattr user.cmfs.cache: get, set, remove, bad values and unknown keys; not
# listed on images, so that no archiver carries a mode along; the root directory lists
# what there is; other user.* attributes are the host file's.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

key=user.cmfs.cache
get() { # FILE [KEY]
	getfattr --absolute-names --only-values -n "${2:-$key}" "$1"
}

refuses() { # WORDS-OF-THE-ERROR COMMAND...
	local words=$1
	shift
	if "$@" >"$T/out" 2>&1; then
		fail "$*: worked"
	fi
	grep -q "$words" "$T/out" || fail "$*: $(cat "$T/out"), not '$words'"
}

mkdir "$T/mnt" "$T/copy"
head -c 64K /dev/urandom >"$T/img"
cp "$T/img" "$T/two"
img=$T/mnt/img
host=$T/img

# Without an option: writeback, also after a removal.
cmfs_start c "$host" "$T/two" "$T/mnt"
expect writeback "$(get "$img")"
for mode in $modes; do
	setfattr -n $key -v "$mode" "$img"
	expect "$mode" "$(get "$img")"
	expect writeback "$(get "$T/mnt/two")" "the other image"
done
setfattr -n $key -v off "$img"
expect none "$(get "$img")" "off is none"
setfattr -x $key "$img"
expect writeback "$(get "$img")" "removed"
setfattr -x $key "$img" # again: nothing to undo is no error
expect "" "$(getfattr --absolute-names -d -m - "$host" | grep cmfs || true)" "stored without persist"

# What is wrong leaves the mode as it is.
setfattr -n $key -v none "$img"
for value in "" None NONE "none " " none" nonee writebac "none,unsafe" "$(printf '%0300d' 0)" 0x6e6f6e6500; do
	refuses "Invalid argument" setfattr -n $key -v "$value" "$img"
	expect none "$(get "$img")" "after '$value'"
done
refuses "No such attribute" get "$img" user.cmfs.nonsense
refuses "No such attribute" get "$img" user.cmfs.
refuses "Invalid argument" setfattr -n user.cmfs.nonsense -v 1 "$img"
refuses "Invalid argument" setfattr -n user.cmfs.version -v 1 "$img"
refuses "No such attribute" setfattr -x user.cmfs.nonsense "$img"
# user.cmfs without the dot is no control key.
setfattr -n user.cmfsx -v 1 "$img"
expect 1 "$(get "$host" user.cmfsx)"
setfattr -x user.cmfsx "$img"

# Others of user.* are the host file's.
setfattr -n user.note -v hello "$img"
setfattr -n user.host -v there "$host"
expect hello "$(get "$host" user.note)"
expect there "$(get "$img" user.host)"
expect "user.host user.note" "$(getfattr --absolute-names -d -m - "$img" |
	sed -n 's/=.*//p' | sort | xargs)" "the list"
setfattr -x user.host "$img"
refuses "No such attribute" get "$host" user.host
refuses "No such attribute" setfattr -x user.host "$img"
big=$(head -c 2000 /dev/zero | tr '\0' v)
setfattr -n user.big -v "$big" "$img"
expect "$big" "$(get "$host" user.big)" "a long value"
expect "$big" "$(get "$img" user.big)" "a long value"
setfattr -x user.big "$img"

# Other namespaces: none there, none to be set.
refuses "No such attribute" get "$img" security.capability
refuses "No such attribute" get "$img" trusted.overlay.opaque
refuses "not supported" get "$img" system.posix_acl_access
refuses "not supported" setfattr -n trusted.x -v 1 "$img"
refuses "not supported" setfattr -n security.x -v 1 "$img"
expect "" "$(getfattr --absolute-names -d -m '^(trusted|security|system)' "$img")"

# Not listed, so not carried along; what is the host file's is.
setfattr -n $key -v unsafe "$img"
cp -a "$img" "$T/copy/cp"
tar --xattrs --xattrs-include='*' -C "$T/mnt" -cf "$T/tar" img
tar --xattrs --xattrs-include='*' -C "$T/copy" -xf "$T/tar"
for copy in "$T/copy/cp" "$T/copy/img"; do
	expect "user.note" "$(getfattr --absolute-names -d -m - "$copy" | sed -n 's/=.*//p' | xargs)" \
		"xattrs of a copy"
	cmp "$copy" "$host"
done
# And a copy onto the image brings no mode with it but the mode's own key stays.
setfattr -n $key -v none "$T/copy/cp"
cp --preserve=xattr "$T/copy/cp" "$T/mnt/two" 2>"$T/err" || grep -q "$key" "$T/err"
setfattr -x $key "$T/mnt/two"

# The root directory.
expect "user.cmfs.daemon user.cmfs.keys user.cmfs.version" "$(getfattr --absolute-names -d -m - "$T/mnt" |
	sed -n 's/=.*//p' | sort | xargs)" "the root's list"
expect "$key user.cmfs.error user.cmfs.datapath user.cmfs.powercut user.cmfs.commit \
user.cmfs.fault user.cmfs.mark user.cmfs.daemon" \
	"$(get "$T/mnt" user.cmfs.keys)"
expect none "$(get "$T/mnt/img" user.cmfs.error)" "an image that has not failed"
refuses "Read-only" setfattr -n user.cmfs.error -v none "$T/mnt/img"
expect "$("$CMFS" -V | cut -d ' ' -f 2)" "$(get "$T/mnt" user.cmfs.version)"
for file in mnt mnt/img; do
	# Its process id, and when it began.
	expect "$(awk '{ print $1, $22 }' "/proc/${PID["c"]}/stat")" "$(get "$T/$file" user.cmfs.daemon)"
	refuses "Read-only" setfattr -n user.cmfs.daemon -v 1 "$T/$file"
done
refuses "No such attribute" get "$T/mnt" $key
refuses "No such attribute" get "$T/mnt" user.note
refuses "Read-only" setfattr -n user.cmfs.version -v 9 "$T/mnt"
refuses "Invalid argument" setfattr -n $key -v none "$T/mnt"
cmfs_stop c
grep -q "img: $key is now unsafe" "$T/c.log" || fail "a switch is not in the log"

# With an option: removal goes back to it.
cmfs_start c -o cache=directsync "$host" "$T/mnt"
setfattr -n $key -v unsafe "$img"
setfattr -x $key "$img"
expect directsync "$(get "$img")" "removed"
cmfs_stop c

# Read-only: the mode can be seen.
cmfs_start c -o ro,cache=none "$host" "$T/mnt"
expect none "$(get "$img")"
expect hello "$(get "$img" user.note)"
refuses "Read-only" setfattr -n user.note -v x "$img"
cmfs_stop c
