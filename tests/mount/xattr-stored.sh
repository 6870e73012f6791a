#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A mode stored on the host file: it starts the mode and is told in one line at mount; an
# explicit option wins; with -o persist a live change stores it and a removal removes it,
# without nothing is stored; a switch that fails stores nothing.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

key=user.cmfs.cache
get() {
	getfattr --absolute-names --only-values -n $key "$1" 2>/dev/null || echo "nothing"
}

lines() { # those that say how the kernel serves an image do not count
	grep -vc ': data path: ' "$T/c.log" || true
}

mkdir "$T/mnt"
truncate -s 1M "$T/img" "$T/plain"
declare -A flags=([writeback]="02100002" [none]="02100002 02140002"
	[writethrough]="02110002" [directsync]="02110002 02150002" [unsafe]="02100002")

for mode in $modes off; do
	setfattr -n $key -v "$mode" "$T/img"
	cmfs_start c "$T/img" "$T/plain" "$T/mnt"
	cmfs_log c
	expect 1 "$(lines)" "lines at mount"
	expect 2 "$(grep -c ': data path: ' "$T/c.log")" "lines about how two images are served"
	grep -q "img: cache=${mode/off/none}.*stored" "$T/c.log" || fail "$mode: it does not say so"
	expect "${mode/off/none}" "$(get "$T/mnt/img")"
	expect "${flags[${mode/off/none}]}" "$(fd_flags "${PID[c]}" "$T/img" | xargs)" "$mode: flags"
	expect writeback "$(get "$T/mnt/plain")" "an image without"
	# Stored or not, it is not listed, so that no copy carries it along.
	expect "" "$(getfattr --absolute-names -d -m - "$T/mnt/img")" "the list"
	cp -a "$T/mnt/img" "$T/copy"
	expect nothing "$(get "$T/copy")" "a copy"
	setfattr -n $key -v unsafe "$T/mnt/img"
	expect "$mode" "$(get "$T/img")" "a live change without persist is not stored"
	setfattr -x $key "$T/mnt/img"
	expect "${mode/off/none}" "$(get "$T/mnt/img")" "back to the stored one"
	expect "$mode" "$(get "$T/img")" "and the stored one stays"
	cmfs_stop c

	cmfs_start c -o cache=writethrough "$T/img" "$T/mnt"
	expect 0 "$(lines)" "lines at mount, where an option wins"
	expect writethrough "$(get "$T/mnt/img")" "an option wins"
	cmfs_stop c
	expect "$mode" "$(get "$T/img")" "stored"
done

# An invalid one: an error that names it (cli-errors.sh has the rest), but an option wins.
for value in nonsense "" "none " NONE; do
	setfattr -n $key -v "$value" "$T/img"
	status=0
	timeout 20 "$CMFS" -f "$T/img" "$T/mnt" 2>"$T/err" || status=$?
	expect 1 "$status" "status, with '$value' stored"
	grep -qF "img: its stored xattr $key is '$value'" "$T/err" || fail "$(cat "$T/err")"
	! mounted "$T/mnt" || fail "mounted all the same"
	cmfs_start c -o cache=none "$T/img" "$T/mnt"
	expect none "$(get "$T/mnt/img")"
	cmfs_stop c
done
setfattr -x $key "$T/img"

# Persist.
cmfs_start c -o persist "$T/img" "$T/mnt"
expect nothing "$(get "$T/img")" "before a change"
for mode in $modes; do
	setfattr -n $key -v "$mode" "$T/mnt/img"
	expect "$mode" "$(get "$T/img")" "stored"
done
setfattr -n $key -v off "$T/mnt/img"
expect none "$(get "$T/img")" "stored by its name"
! setfattr -n $key -v nonsense "$T/mnt/img" 2>/dev/null || fail "nonsense"
expect none "$(get "$T/img")" "after a change that failed"
cmfs_stop c
cmfs_start c -o persist "$T/img" "$T/mnt"
expect none "$(get "$T/mnt/img")" "mounted anew"
setfattr -x $key "$T/mnt/img"
expect writeback "$(get "$T/mnt/img")" "removed"
expect nothing "$(get "$T/img")" "removed"
cmfs_stop c
cmfs_start c -o persist,cache=directsync "$T/img" "$T/mnt"
setfattr -n $key -v unsafe "$T/mnt/img"
expect unsafe "$(get "$T/img")" "stored"
setfattr -x $key "$T/mnt/img"
expect directsync "$(get "$T/mnt/img")" "removed, with an option"
expect nothing "$(get "$T/img")" "removed"
cmfs_stop c

# A file system without O_DIRECT (and a ramfs has no user xattrs either): the change
# fails, the mode stays.
[ "$(id -u)" = 0 ] || exit 0
mkdir "$T/ram"
mount -t ramfs none "$T/ram"
track_mount "$T/ram"
truncate -s 1M "$T/ram/img"
cmfs_start c -o persist "$T/ram/img" "$T/mnt"
for mode in none unsafe; do
	! setfattr -n $key -v $mode "$T/mnt/img" 2>/dev/null || fail "$mode on a ramfs, with persist"
	expect writeback "$(get "$T/mnt/img")" "after a change that failed"
	expect nothing "$(get "$T/ram/img")" "after a change that failed"
done
cmfs_log c
cmfs_stop c
