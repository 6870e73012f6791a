#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What does not go with a file as mountpoint is said in one line, with nothing mounted or
# changed (P10): more than one image, a name, the power-cut layer, fixed-mode, a pid file
# that is the mountpoint; mountpoints that are neither files nor directories.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

state() {
	find "$T/w" -printf '%p %y %s %m %T@\n' | sort
}

refused() { # PATTERN ARG...
	local how status
	for how in -f ""; do
		status=0
		# shellcheck disable=SC2086 # no argument if empty
		timeout 60 "$CMFS" $how "${@:2}" >"$T/out" 2>"$T/err" || status=$?
		expect 1 "$status" "status of cmfs $how ${*:2}"
		expect 1 "$(wc -l <"$T/err")" "lines from cmfs $how ${*:2}: $(cat "$T/err")"
		grep -qE "^cmfs: .*$1" "$T/err" || fail "cmfs ${*:2}: '$(cat "$T/err")' is not '$1'"
		! grep -F " $T/w" /proc/mounts || fail "cmfs ${*:2}: mounted all the same"
		expect "$before" "$(state)" "cmfs ${*:2}: the folder"
	done
	cat "$T/err"
}

mkdir -p "$T/w/mnt"
cd "$T/w"
truncate -s 1M img two at
: >empty
mkfifo fifo
ln -s nowhere dangling
before=$(state)

refused "at: is a file, which can show one image, and 2 are given; a directory" img two at
refused "at: is a file, .* 3 are given" --drive file=img -o cache=none two empty at
refused "img: name=x: at is a file and keeps its name" --drive file=img,name=x at
refused "img: powercut=on: at is a file.*directory" -o powercut=on img at
refused "img: powercut=on: img is a file.*directory" --drive file=img,powercut=on img
for passthrough in off auto; do
	refused "fixed-mode: at is a file.*directory" -o fixed-mode,passthrough=$passthrough img at
done
refused "at: the pid file would be hidden by the mount on at" -P at img at
refused "empty: the pid file would be hidden by the mount on empty" -P empty img empty
refused "$T/w/empty: the pid file would be hidden" -P "$T/w/empty" img empty
refused "at: exists.*no pid file" -P at img two

refused "nowhere: cannot mount there: No such file" img nowhere
refused "dangling: cannot mount there: No such file" img dangling
refused "img/: cannot mount there: Not a directory" img img/
refused "fifo: cannot mount there: it is neither a directory nor.*regular file" img fifo
refused "/dev/null: cannot mount there: it is neither a directory nor.*regular file" img /dev/null
refused "missing: cannot open: No such file" missing at
refused "mnt: is a directory" mnt at # the wrong way round

# None of this clears or hides what the next command shows.
echo right | dd of=img conv=notrunc status=none
cmfs_start c -o log-writes="$T/log",fault=on img img
expect "right" "$(head -n 1 img | tr -d '\0')"
setfattr -n user.cmfs.fault -v read:EIO img
! cat img >/dev/null 2>"$T/err" || fail "no fault"
setfattr -n user.cmfs.fault -v off img
echo logged | dd of=img conv=notrunc status=none
getfattr --only-values -n user.cmfs.mark img | grep -q '^[1-9][0-9]* entries' || fail "no log"
expect "off" "$(getfattr --only-values -n user.cmfs.powercut img)"
! setfattr -n user.cmfs.powercut -v lose img 2>"$T/err" || fail "cut"
grep -q "not supported" "$T/err" || fail "$(cat "$T/err")"
cmfs_stop c
cd /
