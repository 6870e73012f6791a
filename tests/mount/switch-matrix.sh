#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each of the 25 switches with handles open from before: it is a barrier (P7) in that
# the old descriptor is flushed before it is answered, unless the new mode is unsafe;
# descriptors get the new mode's flags; writes through the old handles are as durable
# as the new mode says (P1, P3, P4); and handles old and new see one content (P9).
CMFS_DETECT_LEAKS=0
# Not yet told what passthrough changes: on the daemon's data path in both runs.
CMFS_PASSTHROUGH=off
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"

declare -A flags=([writeback]=plain [none]=direct [writethrough]=dsync
	[directsync]="direct,dsync" [unsafe]=plain)
declare -A fdinfo=([writeback]="02100002" [none]="02100002 02140002"
	[writethrough]="02110002" [directsync]="02110002 02150002" [unsafe]="02100002")

traced() { # LABEL COMMAND...
	local label=$1
	shift
	ok mark 1 "$label"
	ok "$@"
	ok mark 1 "$label-end"
	got=$(section c "$label" "$label-end" | events)
}

letters=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789
seen=0
next_letter() {
	letter=${letters:seen++ % ${#letters}:1}
}

# Every handle reads what that one wrote; so does the host.
same_everywhere() { # OFF LEN
	local h
	for h in 1 2 3 4 5; do
		want "$2 $letter" read $h "$1" "$2"
	done
	expect "$letter" "$(dd if="$T/img" bs="$2" count=1 iflag=skip_bytes skip="$1" status=none |
		tr -s "$letter" | tr -d '\n')" "in the image"
}

mkdir "$T/mnt"
head -c 1M /dev/zero >"$T/img"
cmfs_start c -o cache=writeback "$T/img" "$T/mnt"
fileop_start
ok open 1 "$T/mnt/img"
for from in $modes; do
	for to in $modes; do
		ok cache 1 "$from"
		ok close 1
		ok open 1 "$T/mnt/img"
		ok open 2 "$T/mnt/img" direct
		ok open 3 "$T/mnt/img" dsync
		ok write 1 0 8192 x
		ok write 2 8192 4096 x
		want "8192 x" read 1 0 8192

		strace_start c
		traced switch cache 1 "$to"
		wanted="fsync:${flags[$from]} reply"
		# No flush then, but what has failed is asked for before the descriptor goes (P5).
		[ "$to" != unsafe ] || wanted="sync_file_range:${flags[$from]} reply"
		echo "$from -> $to: $got"
		expect "$wanted" "$got" "$from -> $to"
		expect "$to" "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img")"
		expect "${fdinfo[$to]}" "$(fd_flags "${PID[c]}" "$T/img" | xargs)" "$from -> $to: flags"
		case $(op cachestat 1) in # the kernel's pages of the mounted file
		0 | ENOSYS) ;;
		*) fail "$from -> $to: pages from before the switch are still cached" ;;
		esac
		ok open 4 "$T/mnt/img"
		ok open 5 "$T/mnt/img" direct

		# The new mode's descriptor and flag; after the write (on a handle that is
		# cached) perhaps the flush that the kernel asks for.
		f=${flags[$to]}
		own=RWF_DSYNC
		case $to in writethrough | directsync | unsafe) own=0 ;; esac
		next_letter && traced w1 write 1 0 4096 "$letter"
		expect "pwritev2:$f:0 reply" "$got" "$from -> $to: write on an old handle"
		same_everywhere 0 4096
		next_letter && traced w2 write 2 8192 4096 "$letter"
		expect "pwritev2:$f:0 reply" "$got" "$from -> $to: write on an old O_DIRECT handle"
		same_everywhere 8192 4096
		next_letter && traced w3 write 3 4096 4096 "$letter"
		expect "pwritev2:$f:$own reply" "$(cut -d ' ' -f 1,2 <<<"$got")" \
			"$from -> $to: write on an old O_DSYNC handle"
		case $to,$got in
		unsafe,*sync:*) fail "$from -> $to: a flush after all: $got" ;;
		esac
		same_everywhere 4096 4096
		next_letter && ok write 4 2048 4096 "$letter"
		same_everywhere 2048 4096
		strace_stop c
		for h in 2 3 4 5; do
			ok close $h
		done
	done
done
fileop_stop
cmfs_stop c
