#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A pid file that would lie inside the mount is refused like any other that cannot be
# written (P10), by whatever path it is reached; the command does not hang.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"

mkdir "$T/mnt" "$T/mnt/below"
ln -s "$T/mnt" "$T/link"
echo hello >"$T/img"
pid=""
for file in mnt/pid link/pid mnt/below/pid mnt/img; do
	for how in -f ""; do
		status=0
		# shellcheck disable=SC2086 # no argument if empty
		timeout -k 1 20 "$CMFS" $how -P "$T/$file" "$T/img" "$T/mnt" >"$T/out" 2>"$T/err" ||
			status=$?
		case $status in
		124 | 137)
			if [ -z "$how" ]; then # in the background it is not timeout's child
				daemon_of pid "$T/mnt"
				kill -KILL "$pid"
			fi
			umount -l "$T/mnt"
			fail "cmfs $how -P $file: hangs"
			;;
		esac
		expect 1 "$status" "status of cmfs $how -P $file"
		expect 1 "$(wc -l <"$T/err")" "lines from cmfs $how -P $file"
		grep "^cmfs: .*$file: " "$T/err" || fail "cmfs $how -P $file: $(cat "$T/err")"
		! mounted "$T/mnt" || fail "cmfs $how -P $file: mounted all the same"
		expect below "$(ls "$T/mnt")" "$file: what is left"
	done
done

# A file that is no old pid file is never written over, nor removed: an image, say.
printf 'not a pid\n' >"$T/notes"
ln -s "$T/img" "$T/symlink"
printf '123abc\n' >"$T/almost"
for file in img notes symlink almost; do
	sha256sum "$T/$file" >"$T/sum"
	! "$CMFS" -P "$T/$file" "$T/img" "$T/mnt" 2>"$T/err" || fail "-P $file was taken"
	grep -q "^cmfs: .*$file: exists and is no pid file" "$T/err" || fail "$(cat "$T/err")"
	! mounted "$T/mnt" || fail "-P $file: mounted all the same"
	sha256sum --quiet -c "$T/sum"
done

# An old one is; that of a running cmfs is not, and stays when the other fails.
echo 4194305 >"$T/old"
"$CMFS" -P "$T/old" "$T/img" "$T/mnt"
daemon_of pid "$T/mnt"
expect "$pid" "$(cat "$T/old")" "the pid in an old pid file"
mkdir "$T/mnt2"
cp "$T/img" "$T/img2"
! "$CMFS" -P "$T/old" "$T/img2" "$T/mnt2" 2>"$T/err" || fail "two daemons with one pid file"
grep -q "of a cmfs that is running (process $pid)" "$T/err" || fail "$(cat "$T/err")"
expect "$pid" "$(cat "$T/old")" "the pid file of the first"
umount "$T/mnt"
daemon_gone "$pid"
[ ! -e "$T/old" ] || fail "the pid file is still there"
