#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The mode table over NBD: what each mode sends to servers that offer FLUSH and FUA, one
# of them, or neither (P1 to P4, P6), when it was mounted and when it was switched to (P7).
# A mode that the server cannot give is refused, and a switch to it leaves the old one.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/nbd.sh
. "$LIB/nbd.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

mkdir "$T/mnt"
file=$T/mnt/disk

# What a write, a write with O_DSYNC, one with RWF_DSYNC, a punch, a zeroing and an fsync
# send; the kernel lets an FSYNC follow an O_DSYNC or RWF_DSYNC write on its cached handles.
# shellcheck disable=SC2034 # by declare -n
declare -A both=(
	[writeback]="Write / Write+FUA Flush / Write+FUA Flush / Zero / Zero / Flush"
	[none]="Write / Write+FUA / Write+FUA / Zero / Zero / Flush"
	[writethrough]="Write+FUA / Write+FUA Flush / Write+FUA Flush / Zero+FUA Flush / Zero+FUA Flush / Flush"
	[directsync]="Write+FUA / Write+FUA / Write+FUA / Zero+FUA Flush / Zero+FUA Flush / Flush"
	[unsafe]="Write / Write / Write / Zero / Zero / "
)
# shellcheck disable=SC2034 # the same
declare -A flush=(
	[writeback]="Write / Write Flush Flush / Write Flush Flush / Zero / Zero / Flush"
	[none]="Write / Write Flush / Write Flush / Zero / Zero / Flush"
	[writethrough]="Write Flush / Write Flush Flush / Write Flush Flush / Zero Flush Flush / Zero Flush Flush / Flush"
	[directsync]="Write Flush / Write Flush / Write Flush / Zero Flush Flush / Zero Flush Flush / Flush"
	[unsafe]="Write / Write / Write / Zero / Zero / "
)
# Nothing but FUA: all modes are as strong as directsync.
declare -A fua=()
for mode in $modes; do
	# shellcheck disable=SC2034 # the same
	fua[$mode]="Write+FUA / Write+FUA / Write+FUA / Zero+FUA / Zero+FUA / "
done

serve() { # SERVER
	truncate -s 1M "$T/s.disk"
	case $1 in
	both) nbd_serve s --filter=log file "$T/s.disk" logfile="$T/s.requests" ;;
	flush) nbd_serve s --filter=log --filter=fua file "$T/s.disk" logfile="$T/s.requests" ;;
	fua) nbd_eval s can_flush='exit 3' can_fua='echo native' can_zero='exit 0' zero='exit 0' ;;
	neither) nbd_eval s can_flush='exit 3' can_fua='echo none' can_zero='exit 0' zero='exit 0' ;;
	esac
	echo 0 >"$T/s.seen"
}

sent() {
	local all="" what
	for what in "write 1 0 4096 a" "write 2 4096 4096 b" "write 1 8192 4096 c dsync" \
		"fallocate 1 punch 0 8192" "fallocate 1 zero 0 4096" "fsync 1"; do
		# shellcheck disable=SC2086 # words are meant
		ok $what
		all+="$(nbd_requests s) / "
	done
	echo "${all% / }"
}

start() { # MODE
	cmfs_start c -o cache="$1" "$(nbd_uri s disk)" "$T/mnt"
	fileop_start
	ok open 1 "$file"
	ok open 2 "$file" dsync
	nbd_requests s >"$T/ignored"
}

finish() {
	fileop_stop
	cmfs_stop c
}

for server in both flush fua; do
	declare -n wanted=$server
	serve $server
	for mode in $modes; do
		start "$mode"
		expect "${wanted[$mode]}" "$(sent)" "$server, cache=$mode"
		finish
		[ "$mode" = unsafe ] || [ $server = fua ] ||
			expect Flush "$(nbd_requests s)" "$server, cache=$mode: at unmount"
	done

	# A switch is a barrier, on handles that were opened in writeback.
	start writeback
	for mode in none writethrough directsync unsafe writeback; do
		want 4096 write 1 0 4096 x
		nbd_requests s >"$T/ignored"
		ok cache 1 $mode
		barrier=Flush
		[ $mode != unsafe ] && [ $server != fua ] || barrier=""
		expect "$barrier" "$(nbd_requests s)" "$server: a switch to $mode"
		# These handles are the kernel's cached ones, in all modes.
		case $mode in
		none) wanted_now=${wanted[writeback]} ;;
		directsync) wanted_now=${wanted[writethrough]} ;;
		*) wanted_now=${wanted[$mode]} ;;
		esac
		expect "$wanted_now" "$(sent)" "$server, switched to $mode"
	done
	finish
	nbd_kill s
done

serve neither
for mode in writeback none writethrough directsync; do
	if "$CMFS" -o cache=$mode "$(nbd_uri s disk)" "$T/mnt" 2>"$T/err"; then
		fail "cache=$mode was given by a server that can make nothing durable"
	fi
	expect 1 "$(wc -l <"$T/err")" "lines of the error"
	grep -q 'NBD_FLAG_SEND_FLUSH.*NBD_FLAG_SEND_FUA.*cache=unsafe' "$T/err" ||
		fail "cache=$mode: $(cat "$T/err")"
done
start unsafe
expect "Write / Write / Write / Zero / Zero / " "$(sent)" "neither, cache=unsafe"
for mode in writeback none writethrough directsync; do
	op cache 1 $mode >"$T/answer"
	case $(cat "$T/answer") in E*) ;; *) fail "a switch to $mode: $(cat "$T/answer")" ;; esac
	expect unsafe "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$file")"
done
expect "Write / Write / Write / Zero / Zero / " "$(sent)" "still cache=unsafe"
finish
cmfs_start c -o ro "$(nbd_uri s disk)" "$T/mnt"
cmp -n 4096 "$file" "$T/s.disk"
cmfs_stop c
