#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Fault rules, by option and live, in every mode: they hit what they name, as often as
# they say, and what they fail is not done; what was to be durable has failed for good,
# also when the rules are gone (P5), until the image is mounted anew. Setting them is no
# switch; they stay over one.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/failed.sh
. "$LIB/failed.sh"
passthrough=off # with the layer all goes through the daemon

rules() {
	getfattr --absolute-names --only-values -n user.cmfs.fault "$T/mnt/img"
}

set_rules() {
	setfattr -n user.cmfs.fault -v "$1" "$T/mnt/img"
}

start() { # OPTION
	head -c 4M /dev/zero | tr '\0' o >"$T/img"
	cmfs_start c -o "cache=$mode,$1" "$T/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	ok open 3 "$T/mnt/img" direct
}

finish() { # STATUS
	fileop_stop
	cmfs_stop c "$1"
}

is_new() { # the same image mounted anew is sound
	cmfs_start c -o "cache=$mode" "$T/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	is_sound "$what: mounted anew"
	fileop_stop
	cmfs_stop c
}

mkdir "$T/mnt"
for mode in $modes; do
	case $mode in
	unsafe) ends=0 ;;
	*) ends=1 ;;
	esac

	# Live: each kind of what claims durability, once.
	for kind in "fsync 1" "fdatasync 2" "write 2 0 4096 d" "write 1 0 4096 d dsync"; do
		what="cache=$mode, $kind"
		rule=write:EIO:once
		case $kind in fsync* | fdatasync*) rule=flush:ENOSPC:once ;; esac
		start fault=on
		expect none "$(rules)" "$what: rules"
		is_sound "$what: no rules"
		set_rules "$rule"
		expect "$rule hits=0" "$(rules)" "$what: rules"
		# shellcheck disable=SC2086 # words are meant
		answer=$(op $kind)
		if [ "$mode" = unsafe ]; then
			case $kind in
			write*) is_errno "$what" "$answer" EIO ;;
			*) expect 0 "$answer" "$what" ;;
			esac
			is_sound "$what"
		else
			is_errno "$what" "$answer" EIO ENOSPC
			expect "$rule hits=1" "$(rules)" "$what: rules"
			is_failed "$what"
			set_rules off
			is_failed "$what: the rules are gone"
			refuses_switches "$what"
			want EIO cache 1 "$mode"
			ends=0 # it is in unsafe now
		fi
		finish "$ends"
		is_new
		[ "$mode" = unsafe ] || ends=1
	done

	# By option; what fails is not done, what does not is.
	what="cache=$mode, write:ENOSPC:range=1M-2M"
	start fault=write:ENOSPC:range=1M-2M+punch:EOPNOTSUPP+read:EIO:range=3M-:after=1:times=2
	want 4096 write 1 0 4096 a
	want 4096 write 1 2097152 4096 a
	case $mode in
	writethrough | directsync)
		want "4096 o" read 3 1048576 4096
		;;
	*)
		want ENOSPC write 1 1048576 4096 b
		want ENOSPC write 3 1044480 8192 b
		want "4096 o" read 3 1048576 4096
		is_sound "$what"
		;;
	esac
	want EOPNOTSUPP fallocate 1 punch 0 4096
	want 0 fallocate 1 zero 65536 4096
	want "4096 o" read 3 3145728 4096
	want EIO read 3 3145728 4096
	want EIO read 3 3149824 4096
	want "4096 o" read 3 3145728 4096
	is_sound "$what: reads and refused requests are no failures"
	[[ $(rules) == *"read:EIO:range=3M-:after=1:times=2 hits=2" ]] || fail "$what: $(rules)"
	finish 0

	# A switch of the mode leaves the rules and their counts; a failing one the mode.
	what="cache=$mode, over switches"
	start fault=on
	set_rules write:EIO:after=3:once+reopen:EMFILE:once 2>/dev/null && fail "EMFILE is none"
	expect none "$(rules)" "after a refused change"
	set_rules truncate:EIO:after=2:once+reopen:ENXIO:once
	want 0 truncate 1 4194304
	want ENXIO cache 1 unsafe
	expect "$mode" "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img")"
	for to in $modes $mode; do
		ok cache 1 "$to"
	done
	expect "truncate:EIO:after=2:once hits=0 + reopen:ENXIO:once hits=1" "$(rules)" "$what"
	want 0 truncate 1 4194304
	want EIO truncate 1 4194304
	is_sound "$what"
	setfattr -x user.cmfs.fault "$T/mnt/img"
	expect none "$(rules)" "$what: removed"
	finish 0

	# The flush at the end counts, too (P12).
	start fault=flush:EIO:after=1
	want 4096 write 1 0 4096 a
	finish 0 # the one that is passed
	start fault=flush:EIO
	want 4096 write 1 4096 4096 a
	finish "$ends"
done

# Delays: they take their time, one at a time or all at once, and hold up nobody else.
mode=none
start fault=on
set_rules write:delay=700ms
begin=$(date +%s%N)
writers=()
for i in 0 1 2 3; do
	dd if=/dev/zero of="$T/mnt/img" bs=4k seek=$i count=1 conv=notrunc oflag=direct \
		status=none &
	writers+=($!)
done
want "4096 o" read 3 1048576 4096
read_ms=$((($(date +%s%N) - begin) / 1000000))
wait "${writers[@]}"
all_ms=$((($(date +%s%N) - begin) / 1000000))
expect "write:delay=700ms hits=4" "$(rules)"
[ "$all_ms" -ge 700 ] || fail "four delayed writes took $all_ms ms"
[ "$all_ms" -lt 2700 ] || fail "four delayed writes took $all_ms ms: one after the other"
echo "delayed writes: $all_ms ms, a read beside them: $read_ms ms"
# Every other one, with an error behind it.
set_rules flush:delay=300ms:EIO:every=2
want 0 fsync 1
begin=$(date +%s%N)
want EIO fsync 1
[ $((($(date +%s%N) - begin) / 1000000)) -ge 300 ] || fail "the failing flush did not wait"
is_failed "delay and error"
finish 1
