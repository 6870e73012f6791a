#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The sync flag that cmfs sets on a host file (chattr +S) is there for as long as a
# mode needs it (P1, P7) and never left behind: when the last writer that needs it
# closes, by a switch, an unmount, a signal, after SIGKILL by the next mount. What the
# user set stays (P10). And -o syncflag=on: on in writethrough, where the kernel then
# serves writes that each flush the device; refused where there is no such flag.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
img= # set by on_hostfs
N=10

start() { # OPTION...
	cmfs_start c "$@" "$img" "$T/mnt"
	fileop_start
	: >"$T/c.log"
}

# A writer that the kernel serves, and a switch to MODE, which needs the flag for it.
start_with_writer() { # MODE
	start -o cache=writeback
	ok open 1 "$T/mnt/img"
	ok writes 1 0 4096 $N a
	as_before "a writer in writeback"
	switch "$1"
	flag_on "a writer, switched to $1"
}

switch() { # MODE
	setfattr -n user.cmfs.cache -v "$1" "$T/mnt/img" || fail "$what: cannot switch to $1"
}

end() { # how it came to its end: by a signal, or by itself
	cmfs_wait c
	[ ! -e "$T/c.pid" ] || fail "$what: the pid file is still there"
}

set_before() {
	[ "$user" = +S ]
}

# The state that the user left it in.
is_as_before() {
	! has_sync_note "$img" || return 1
	case $user in
	+S) has_sync_flag "$img" || return 1 ;;
	*) ! has_sync_flag "$img" || return 1 ;;
	esac
}

as_before() { # WHEN: at once
	is_as_before || fail "$what: $1: the flag is not as it was: $(lsattr "$img")"
	checks=$((checks + 1))
}

flag_on() { # WHEN
	has_sync_flag "$img" || fail "$what: $1: no sync flag"
	if set_before; then
		! has_sync_note "$img" || fail "$what: $1: a note on what is the user's"
	else
		has_sync_note "$img" || fail "$what: $1: no note"
	fi
	checks=$((checks + 1))
}

flushes_each() { # HANDLE WHEN: N writes flush the device, each of them
	local before count
	before=$(flushes host)
	ok writes "$1" 65536 4096 $N b
	count=$(($(flushes host) - before))
	[ "$count" -ge $N ] || fail "$what: $2: $count flushes for $N writes"
}

last_writer_closed() {
	start_with_writer writethrough
	ok open 2 "$T/mnt/img" wronly
	ok open 3 "$T/mnt/img" rdonly
	ok open 4 "$T/mnt/img" dsync
	flushes_each 1 "the writer of before"
	ok close 1
	ok close 4
	flushes_each 2 "the second writer, served by the kernel because of the flag"
	flag_on "one of two writers closed"
	ok close 2
	wants is_as_before || fail "$what: the last writer closed: $(lsattr "$img")"
	ok open 1 "$T/mnt/img" # beside a reader whom the kernel serves, it needs no flag
	flushes_each 1 "a later writer"
	as_before "a writer that the daemon serves"
	fileop_stop
	cmfs_stop c
	as_before "unmounted"
}

switched_away() {
	local to
	start_with_writer directsync
	for to in writeback writethrough none directsync unsafe; do
		switch $to
		case $to in
		writethrough | directsync) flag_on "switched to $to" ;;
		*) as_before "switched to $to" ;;
		esac
	done
	fileop_stop
	cmfs_stop c
	as_before "unmounted"
}

# The kernel tells of a handle that is closed, unless the mount is gone by then.
unmounted_at_once() {
	start_with_writer writethrough
	fileop_stop
	cmfs_stop c
	as_before "unmounted at once"
}

# The mount goes with a writer open, who is the last to leave.
unmounted_lazily() {
	start_with_writer writethrough
	umount -l "$T/mnt"
	flushes_each 1 "after umount -l"
	flag_on "after umount -l"
	fileop_stop
	end
	as_before "unmounted lazily"
}

ended_by() { # SIGNAL
	start_with_writer writethrough
	ok close 1
	kill -"$1" "${PID[c]}"
	end
	as_before "SIG$1"
	fileop_stop

	# A writer that goes on past the daemon's end needs it until the next mount.
	start_with_writer directsync
	kill -"$1" "${PID[c]}"
	end
	flag_on "SIG$1 with a writer open"
	flushes_each 1 "after SIG$1"
	fileop_stop
	start -o cache=writethrough
	as_before "the mount after SIG$1"
	fileop_stop
	cmfs_stop c
}

killed() { # MODE: of the next mount
	start_with_writer writethrough
	kill -KILL "${PID[c]}"
	wait "${PID[c]}" 2>/dev/null || true
	unset "PID[c]"
	rm "$T/c.pid" # it could not
	flag_on "killed"
	flushes_each 1 "after SIGKILL"
	fileop_stop
	cmfs_start c -o ro "$img" "$T/mnt"
	flag_on "mounted read-only" # which changes nothing
	cmfs_stop c
	start -o cache="$1"
	as_before "mounted anew after SIGKILL"
	fileop_stop
	cmfs_stop c
	as_before "and unmounted"
}

# Another cmfs on the same image, which the lock allows where it is told so only, neither
# takes the flag for a dead one's, nor clears it while it is needed.
two_mounts() {
	start_with_writer writethrough
	cmfs_start other -o cache=none,locking=off "$img" "$T/other"
	flag_on "mounted a second time"
	flushes_each 1 "mounted a second time"
	cmfs_stop other
	flag_on "the second one unmounted"
	flushes_each 1 "the second one unmounted"

	cmfs_start other -o cache=writeback,locking=off "$img" "$T/other"
	ok open 2 "$T/other/img"
	ok cache 2 writethrough
	ok close 1
	switch none
	flag_on "one of two no longer needs it"
	flushes_each 2 "the other one needs it"
	ok close 2
	wants is_as_before || fail "$what: neither needs it: $(lsattr "$img")"
	cmfs_stop other
	fileop_stop
	cmfs_stop c
	as_before "both unmounted"
}

requests() { # OPCODE
	grep -ac "opcode: $1 " "$T/c.log" || true
}

by_option() {
	local before
	start -d -o cache=writethrough,syncflag=on
	flag_on "syncflag=on"
	ok open 1 "$T/mnt/img"
	flushes_each 1 "syncflag=on"
	ok reads 1 65536 4096 $N
	expect "0 0" "$(requests WRITE) $(requests READ)" "$what: syncflag=on: WRITEs, READs"
	expect "passthrough; open: 1 by the kernel, 0 by the daemon" \
		"$(getfattr --absolute-names --only-values -n user.cmfs.datapath "$T/mnt/img")"
	ok close 1
	flag_on "syncflag=on, nobody has it open"
	for to in writeback writethrough none; do
		switch $to
		[ $to = writethrough ] || as_before "syncflag=on, switched to $to"
		[ $to != writethrough ] || flag_on "syncflag=on, switched to $to"
	done
	ok open 1 "$T/mnt/img" direct
	before=$(flushes host)
	ok writes 1 0 4096 $N c
	set_before || [ $(($(flushes host) - before)) -le 3 ] || fail "$what: none flushes"
	ok close 1
	switch writethrough
	flag_on "syncflag=on, switched back"
	fileop_stop
	cmfs_stop c
	as_before "syncflag=on, unmounted"

	start -o cache=writethrough,syncflag=on
	kill -TERM "${PID[c]}"
	end
	fileop_stop
	as_before "syncflag=on, SIGTERM"
}

on_hostfs() {
	hostfs_make host "$1"
	img=$T/host/img
	for user in -S +S; do
		what="$1, chattr $user before"
		checks=0
		head -c 1M /dev/zero >"$img"
		chattr $user "$img"
		sync -f "$T/host"
		last_writer_closed
		switched_away
		for _ in 1 2; do
			unmounted_at_once
			unmounted_lazily
		done
		ended_by TERM
		ended_by INT
		killed writethrough
		killed none
		two_mounts
		by_option
		echo "$what: $checks checks"
		rm "$img"
	done
	hostfs_remove host
}

# Without passthrough nobody needs the flag: it never comes, and the user's stays.
daemon_only() {
	local to
	hostfs_make host ext4
	img=$T/host/img
	for user in -S +S; do
		what="the daemon's data path, chattr $user before"
		checks=0
		head -c 1M /dev/zero >"$img"
		chattr $user "$img"
		start -o cache=writeback
		ok open 1 "$T/mnt/img"
		for to in writethrough directsync none directsync writeback writethrough; do
			switch $to
			as_before "switched to $to"
		done
		flushes_each 1 writethrough
		fileop_stop
		cmfs_stop c
		as_before unmounted
		echo "$what: $checks checks"
	done
	hostfs_remove host
}

# refused WANTED-TEXT ARG...: one line says so, and nothing is mounted
refused() {
	local text=$1 status=0
	shift
	"$CMFS" "$@" "$T/host/img" "$T/mnt" 2>"$T/err" || status=$?
	cat "$T/err"
	[ $status != 0 ] || fail "mounted: $*"
	expect 1 "$(wc -l <"$T/err")" "$*: lines"
	grep -q "$text" "$T/err" || fail "$*: it does not say why"
	! mounted "$T/mnt" || fail "$*: mounted"
}

refused_without_flag() {
	mkdir "$T/host"
	mount -t tmpfs -o size=16m none "$T/host"
	track_mount "$T/host"
	truncate -s 1M "$T/host/img"
	refused "host/img: syncflag=on: .*sync flag (chattr +S) cannot be set" -o passthrough=auto,cache=writethrough,syncflag=on
	refused "syncflag=on is of use to passthrough only: leave out passthrough=off" \
		-o passthrough=off,cache=writethrough,syncflag=on
	expect "" "$(getfattr --absolute-names -d "$T/host/img" 2>/dev/null)" "tmpfs: attributes left"
}

mkdir "$T/mnt" "$T/other"
truncate -s 1M "$T/probe"
cmfs_start c "$T/probe" "$T/mnt"
served=0
! served_by_kernel writeback || served=1
cmfs_stop c
rm -f "$T"/*.log
if [ $served = 1 ]; then
	for fs in ext4 xfs btrfs; do
		on_hostfs $fs
	done
else
	daemon_only
fi
refused_without_flag
