#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each of the 25 switches with handles open from before: it is a barrier (P7) in that
# the old descriptor is flushed before it is answered, unless the new mode is unsafe;
# descriptors get the new mode's flags; writes through the old handles are as durable
# as the new mode says (P1, P3, P4); and handles old and new see one content (P9). What
# the kernel serves never comes by: switch-passthrough.sh counts what that flushes.
CMFS_DETECT_LEAKS=0
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

strace_calls+=,ioctl

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
	expect "$letter" "$(dd if="$T/host/img" bs="$2" count=1 iflag=skip_bytes skip="$1" status=none |
		tr -s "$letter" | tr -d '\n')" "in the image"
}

# expect_write HANDLE FLAGS RWF: what the daemon did for a write on a handle of before;
# after it (on a handle that is cached) perhaps the flush that the kernel asks for.
expect_write() {
	# In writethrough the first handle is a cached one, and so are all.
	if [ "$from" != writethrough ] && served_by_kernel "$from" "$2"; then
		expect "" "$got" "$from -> $to: write on handle $1 ($2), which the kernel serves"
	else
		expect "pwritev2:$f:$3 reply" "$(cut -d ' ' -f 1,2 <<<"$got")" \
			"$from -> $to: write on handle $1 ($2) of before"
		[ "$2" = dsync ] ||
			expect "pwritev2:$f:$3 reply" "$got" "$from -> $to: write on handle $1"
	fi
}

# The sync flag, for writers whom the kernel serves: set before the flush, for good
# only then. Without one, it is not touched.
wanted_switch() {
	local flush="fsync:${flags[$from]}"
	# No flush then, but what has failed is asked for before the descriptor goes (P5).
	[ "$to" != unsafe ] || flush="sync_file_range:${flags[$from]}"
	case $from,$to in
	writeback,writethrough | writeback,directsync | none,writethrough | none,directsync | \
		unsafe,writethrough | unsafe,directsync)
		! served_by_kernel "$from" direct || flush="+S fallocate:${flags[$from]} $flush"
		;;
	esac
	echo "$flush reply"
}

if [ "$(id -u)" = 0 ]; then # with a sync flag, so that each switch is possible
	hostfs_make host ext4
else
	mkdir "$T/host"
fi
align=$(direct_align "$T/host")
middle=2048
[ "$align" -le $middle ] || middle=4096
mkdir "$T/mnt"
head -c 1M /dev/zero >"$T/host/img"
fileop_start
for from in $modes; do
	for to in $modes; do
		cmfs_start c -o cache="$from" "$T/host/img" "$T/mnt"
		# In direct modes passthrough is for who comes first with O_DIRECT.
		case $from in
		none | directsync) ok open 2 "$T/mnt/img" direct && ok open 1 "$T/mnt/img" ;;
		*) ok open 1 "$T/mnt/img" && ok open 2 "$T/mnt/img" direct ;;
		esac
		ok open 3 "$T/mnt/img" dsync
		ok write 1 0 8192 x
		ok write 2 8192 4096 x
		want "8192 x" read 1 0 8192

		strace_start c
		traced switch cache 1 "$to"
		echo "$from -> $to: $got"
		expect "$(wanted_switch)" "$got" "$from -> $to"
		expect "$to" "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img")"
		claim="" # on the sync flag; a descriptor for reading, on which nothing is read
		case $(wanted_switch) in +S*) claim="02100000 " ;; esac
		expect "$claim${fdinfo[$to]}" "$(fd_flags "${PID[c]}" "$T/host/img" | xargs)" \
			"$from -> $to: flags"
		case $(op cachestat 1) in # the kernel's pages of the mounted file
		0 | ENOSYS) ;;
		*) fail "$from -> $to: pages from before the switch are still cached" ;;
		esac
		ok open 4 "$T/mnt/img"
		ok open 5 "$T/mnt/img" direct

		# The new mode's descriptor and flag.
		f=${flags[$to]}
		own=RWF_DSYNC
		case $to in writethrough | directsync | unsafe) own=0 ;; esac
		next_letter && traced w1 write 1 0 4096 "$letter"
		expect_write 1 "" 0
		same_everywhere 0 4096
		next_letter && traced w2 write 2 8192 4096 "$letter"
		expect_write 2 direct 0
		same_everywhere 8192 4096
		next_letter && traced w3 write 3 4096 4096 "$letter"
		expect_write 3 dsync $own
		case $to,$got in
		unsafe,*sync:*) fail "$from -> $to: a flush after all: $got" ;;
		esac
		same_everywhere 4096 4096
		next_letter && ok write 4 $middle 4096 "$letter"
		same_everywhere $middle 4096
		strace_stop c
		for h in 1 2 3 4 5; do
			ok close $h
		done
		cmfs_stop c
		rm "$T/c.strace"
	done
done
fileop_stop
