#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The command returns once the mount works; the daemon is then a session of its own in
# / with nothing open that was the caller's; its pid file stands while it is ready and
# goes when it ends. Relative and odd names work. -V and -h print and end with 0, -d
# prints requests in the foreground.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"

"$CMFS" -V | grep -qE '^cmfs [0-9.]+ \(libfuse 3\.[0-9.]+\)$' || fail "-V"
"$CMFS" --version | grep -q '^cmfs ' || fail "--version"
for word in 'cache=MODE' persist 'writeback, none' 'IMAGE... MOUNTPOINT' allow_other nofail; do
	"$CMFS" -h 2>"$T/err" | tr -s ' \n' ' ' | grep -qF -e "$word" || fail "-h does not tell of $word"
done
"$CMFS" --help --no-such >/dev/null 2>&1 && fail "--help and an unknown option"
expect "" "$(cat "$T/err")" "-h on stderr"

mkdir "$T/w" "$T/w/mnt" "$T/w/run"
cd "$T/w"
head -c 64K /dev/urandom >img

# Everything relative. The output is a pipe: it ends, so the daemon does not hold it.
out=$("$CMFS" -o cache=none -P run/pid img mnt 2>&1 </dev/null)
expect "" "$out" "output of a command that works"
mounted mnt || fail "the command returned, but there is no mount"
pid=""
daemon_of pid mnt
expect "$pid" "$(cat run/pid)" "the pid file"
cmp img mnt/img
expect / "$(readlink "/proc/$pid/cwd")" "the daemon's folder"
for fd in 0 1 2; do
	expect /dev/null "$(readlink "/proc/$pid/fd/$fd")" "the daemon's descriptor $fd"
done
expect "$pid" "$(ps -o sid= -p "$pid" | tr -d ' ')" "the daemon's session"
expect "$T/w/img none" "$(sed -n "s|^\([^ ]*\) $T/w/mnt fuse.cmfs .*|\1 none|p" /proc/mounts |
	sed "s|^img |$T/w/img |")" "the line in /proc/mounts"
umount mnt
daemon_gone "$pid"
[ ! -e run/pid ] || fail "the pid file is still there"

# A folder that is not the caller's any more, an image moved away: the mount stays.
"$CMFS" -P run/pid img mnt
daemon_of pid mnt
mv img moved
echo hello | dd of=mnt/img conv=notrunc status=none
setfattr -n user.cmfs.cache -v directsync mnt/img
expect hello "$(head -n 1 moved)"
kill -TERM "$pid"
daemon_gone "$pid"
! mounted mnt || fail "still mounted"
[ ! -e run/pid ] || fail "the pid file is still there"
mv moved img

# Names as they come; two at once.
names=("a b" "c,d" "e:f" "gr\\u00fc\\u00df-\\u2603" "back\\\\slash" "per%cent" "-dash" "new
line" "cache=none,ro")
for i in "${!names[@]}"; do
	names[i]=$(printf '%b.' "${names[i]}")
	names[i]=${names[i]%.}
	echo "image $i" >"./${names[i]}"
done
"$CMFS" -o cache=writethrough -- "${names[@]}" mnt
daemon_of pid mnt
for i in "${!names[@]}"; do
	expect "image $i" "$(cat "mnt/${names[i]}")" "${names[i]}"
	expect writethrough "$(getfattr --absolute-names --only-values -n user.cmfs.cache "mnt/${names[i]}")"
	echo "more $i" >"mnt/${names[i]}"
	expect "more $i" "$(cat "./${names[i]}")"
done
expect "${#names[@]}" "$(find mnt -type f -printf x | wc -c)" "files in the mount"
umount mnt
daemon_gone "$pid"
for i in "${!names[@]}"; do # each as the first, which names the mount's source
	mkdir "m,$i m"
	"$CMFS" -- "./${names[i]}" "m,$i m"
	daemon_of pid "m,$i m"
	expect "more $i" "$(cat "m,$i m/${names[i]}")" "${names[i]} alone"
	umount "m,$i m"
	daemon_gone "$pid"
done

# Debug: the foreground, each request on stderr.
"$CMFS" -d -P run/pid -o cache=none img mnt >"$T/c.log" 2>&1 &
PID["c"]=$!
MNT["c"]=$T/w/mnt
for ((i = 0; i < 600; i++)); do
	[ ! -s run/pid ] || break
	sleep 0.05
done
expect "${PID["c"]}" "$(cat run/pid)" "-d stays in the foreground"
cat mnt/img >/dev/null
cmfs_stop c
grep -q "READ" "$T/c.log" || fail "-d prints no requests"
