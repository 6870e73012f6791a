#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is wrong with fault rules and write logs on the command line and live: one line
# that names the part and what works, nothing mounted, no log left behind (P10); live,
# what was in force stays. Without their options the keys say so.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

refused() { # WORDS CMFS-ARGUMENT...
	local words=$1 status=0
	shift
	"$CMFS" "$@" >"$T/out" 2>"$T/err" || status=$?
	[ $status != 0 ] || { umount "$T/mnt" && fail "$*: mounted"; }
	expect 1 "$(wc -l <"$T/err")" "$*: lines on stderr"
	grep -q -- "$words" "$T/err" || fail "$*: '$(cat "$T/err")' lacks '$words'"
	! mounted "$T/mnt" || fail "$*: mounted"
	[ ! -e "$T/log" ] || fail "$*: a log is left behind"
}

get() { # KEY
	getfattr --absolute-names --only-values -n "user.cmfs.$1" "$T/mnt/img"
}

refuses() { # WORDS SETFATTR-ARGUMENT...
	local words=$1
	shift
	if LC_ALL=C setfattr "$@" "$T/mnt/img" 2>"$T/err"; then
		fail "setfattr $*: worked"
	fi
	grep -q "$words" "$T/err" || fail "setfattr $*: $(cat "$T/err"), not '$words'"
}

mkdir "$T/mnt" "$T/full"
truncate -s 1M "$T/img" "$T/two"
echo precious >"$T/other"

refused "'wirte' is no operation; the operations are read write" -o fault=wirte:EIO "$T/img" "$T/mnt"
refused "needs an error" -o fault=write "$T/img" "$T/mnt"
refused "'EWHAT' is neither a key" -o fault=write:EWHAT "$T/img" "$T/mnt"
refused "'range=2M-1M' cannot be" -o fault=write:EIO:range=2M-1M "$T/img" "$T/mnt"
refused "needs a value" -o fault "$T/img" "$T/mnt"
refused "passthrough=on" -o fault=on,passthrough=on "$T/img" "$T/mnt"
refused "syncflag=on" -o fault=on,syncflag=on "$T/img" "$T/mnt"
refused "needs a value" -o log-writes "$T/img" "$T/mnt"
refused "needs a value" -o log-writes= "$T/img" "$T/mnt"
refused "$T/other: a write log begins in a new file" -o "log-writes=$T/other" "$T/img" "$T/mnt"
expect precious "$(cat "$T/other")" "a file that was there"
refused "new file" -o "log-writes=$T/img" "$T/img" "$T/mnt"
refused "no/log: cannot begin a write log: No such file" -o "log-writes=$T/no/log" "$T/img" "$T/mnt"
refused "the log of one image" -o "log-writes=$T/log" "$T/img" "$T/two" "$T/mnt"
refused "nothing to log" -o "log-writes=$T/log,ro" "$T/img" "$T/mnt"
refused "fixed-mode" -o "log-writes=$T/log,fixed-mode" "$T/img" "$T/mnt"
refused "passthrough=on" -o "log-writes=$T/log,passthrough=on" "$T/img" "$T/mnt"
# Later steps that fail leave no log either.
refused "mnt2" -o "log-writes=$T/log" "$T/img" "$T/mnt2"
refused "no such mode" -o "log-writes=$T/log,cache=x" "$T/img" "$T/mnt"
refused "pid" -o "log-writes=$T/log" -P "$T/other" "$T/img" "$T/mnt"

# Neither of them: the keys are there and say so.
cmfs_start c "$T/img" "$T/mnt"
expect off "$(get fault)"
expect off "$(get mark)"
refuses "not supported" -n user.cmfs.fault -v write:EIO
refuses "not supported" -x user.cmfs.fault
refuses "not supported" -n user.cmfs.mark -v x
case $(get datapath) in *fault* | *log-writes*) fail "$(get datapath)" ;; esac
cmfs_stop c

# With both, and switched off again by the last option.
cmfs_start c -o "fault=on,fault=off" "$T/img" "$T/mnt"
expect off "$(get fault)"
cmfs_stop c
cmfs_start c -o "fault=on,log-writes=$T/log" "$T/img" "$T/mnt"
case $(get datapath) in "daemon: log-writes, fault" | "daemon: passthrough=off") ;; *)
	fail "$(get datapath)"
	;;
esac
setfattr -n user.cmfs.fault -v write:ENOSPC:after=5 "$T/mnt/img"
for value in "" write write:EIO:once:once "flush:EIO " "$(printf 'write:EIO:after=%0300d' 1)" \
	"$(printf '%05000d' 0)"; do
	refuses "Invalid argument" -n user.cmfs.fault -v "$value"
	expect "write:ENOSPC:after=5 hits=0" "$(get fault)" "after '${value:0:40}'"
done
grep -q "img: user.cmfs.fault not changed: fault rule 'write': it needs an error" "$T/c.log" ||
	fail "the log does not say what was wrong"
refuses "Invalid argument" -n user.cmfs.mark -v ""
refuses "Invalid argument" -n user.cmfs.mark -v "$(printf '%0480d' 0)"
refuses "Read-only" -x user.cmfs.mark
expect "0 entries" "$(get mark)"
setfattr -n user.cmfs.mark -v "$(printf '%0479d' 0)" "$T/mnt/img"
expect "1 entries" "$(get mark)"
cmfs_stop c
