#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Each kind of power cut in each mode: what was acknowledged and was not durable is
# gone or there as the SPEC says, what was durable is there (P1, P2, P4), what was open
# fails with EIO, and what is opened anew sees what survived. A switch of the mode is a
# barrier (P7). user.cmfs.powercut tells what a cut could change.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

img=$T/mnt/img

key() { # [NAME]
	getfattr --absolute-names --only-values -n "user.cmfs.${1:-powercut}" "$img"
}

cut() { # SPEC
	setfattr -n user.cmfs.powercut -v "$1" "$img" || fail "cut $1"
}

# Is the mode's row of properties: acknowledged is durable; flushes are honoured?
is_sync() {
	case $1 in writethrough | directsync) ;; *) return 1 ;; esac
}
flushes() {
	[ "$1" != unsafe ]
}

all_dead() { # HANDLE...
	local h
	for h in "$@"; do
		want EIO read "$h" 0 512
		want EIO write "$h" 0 512 x
		want EIO write "$h" 0 512 x dsync
		want EIO fsync "$h"
		want EIO fdatasync "$h"
		want EIO truncate "$h" 100
		want EIO fallocate "$h" zero 0 512
	done
}

# Write a (flushed), b (with RWF_DSYNC), c and d (neither), each 4096 bytes, and grow.
history() {
	ok open 1 "$img"
	ok open 2 "$img" direct
	ok write 1 0 4096 a
	ok fsync 1
	ok write 2 4096 4096 b dsync
	ok write 1 8192 4096 c
	ok write 2 12288 4096 d
	ok truncate 1 20000
	want "4096 c" read 2 8192 4096
}

sees() { # LETTER OFF
	local letter=$1
	[ "$letter" != . ] || letter=0
	want "4096 $letter" read 3 "$2" 4096
}

# LETTERS of the four blocks (. for zeroes), and the size.
survived() { # LETTERS SIZE
	expect "$2" "$(stat -c %s "$img")" "$what: size"
	ok open 3 "$img"
	for ((i = 0; i < 4; i++)); do
		sees "${1:i:1}" $((i * 4096))
	done
	cmp <(head -c 16384 "$img") <(head -c 16384 "$T/img") || fail "$what: not in the host file"
	ok write 3 0 100 x # it works
	ok fsync 3
	ok close 3
}

mkdir "$T/mnt"
for mode in $modes; do
	rm -f "$T/img"
	truncate -s 16K "$T/img"
	cmfs_start c -o powercut=on,cache="$mode" "$T/img" "$T/mnt"
	fileop_start
	expect "daemon: powercut=on" "$(key datapath)"
	expect "writes=0 bytes=0 others=0" "$(key)"
	for spec in lose keep prefix:1 prefix:2 prefix:99 random:7 torn:7; do
		what="$mode $spec"
		history
		if is_sync "$mode"; then
			expect "writes=0 bytes=0 others=0" "$(key)" "$what"
		elif flushes "$mode"; then
			case $(key) in
			"writes=2 bytes=8192 others=1 since=20"*Z) ;;
			*) fail "$what: $(key)" ;;
			esac
		else
			case $(key) in
			"writes=4 bytes=16384 others=1 since=20"*Z) ;;
			*) fail "$what: $(key)" ;;
			esac
		fi
		cut "$spec"
		all_dead 1 2
		case $mode,$spec in
		writethrough,* | directsync,* | *,keep | *,prefix:99) survived abcd 20000 ;;
		unsafe,lose) survived .... 16384 ;;
		unsafe,prefix:1) survived a... 16384 ;;
		unsafe,prefix:2) survived ab.. 16384 ;;
		*,lose) survived ab.. 16384 ;;
		*,prefix:1) survived abc. 16384 ;;
		*,prefix:2) survived abcd 16384 ;;
		*) ;; # the unit tests know what may be; here, that it works at all
		esac
		all_dead 1 2
		case $(op close 1) in 0 | EIO) ;; *) fail "close" ;; esac
		case $(op close 2) in 0 | EIO) ;; *) fail "close" ;; esac
		# All zeroes and durable again.
		truncate -s 0 "$img"
		truncate -s 16K "$img"
		cut keep
	done

	# A barrier: what was acknowledged before a switch is durable, unless to unsafe.
	for to in $modes; do
		what="switch from $mode to $to"
		setfattr -n user.cmfs.cache -v "$mode" "$img"
		history
		setfattr -n user.cmfs.cache -v "$to" "$img"
		cut lose
		expect "$to" "$(key cache)" "$what: the mode after a cut"
		if is_sync "$mode" || flushes "$to"; then
			survived abcd 20000
		elif flushes "$mode"; then
			survived ab.. 16384
		else
			survived .... 16384
		fi
		# Handles from before a switch have the new mode's durability, until a cut.
		ok open 4 "$img"
		setfattr -n user.cmfs.cache -v directsync "$img"
		ok write 4 8192 4096 e
		cut lose
		all_dead 4
		expect 4096 "$(head -c 12288 "$img" | tail -c 4096 | tr -cd e | wc -c)" "$what: e"
		op close 1 >/dev/null
		op close 2 >/dev/null
		op close 4 >/dev/null
		truncate -s 0 "$img"
		truncate -s 16K "$img"
		cut keep
	done
	fileop_stop
	cmfs_stop c
	! grep -E 'failed|not all of it' "$T/c.log" || fail "$mode: the log tells of failures"
done

# The same seed on the same history does the same, another one does not.
declare -A left=()
for run in 1 2 3; do
	head -c 1M /dev/zero >"$T/img"
	cmfs_start c -o powercut=on,cache=none,powercut-memory=$((run * 100))k "$T/img" "$T/mnt"
	dd if=/dev/zero bs=4k count=256 status=none | tr '\0' y |
		dd of="$img" bs=4k oflag=direct conv=notrunc status=none
	cut random:$((run / 3 + 5))
	left[$run]=$(md5sum <"$img")
	grep -q 'power cut, random:[56]; not durable were: writes=256 bytes=1048576 ' "$T/c.log" ||
		fail "no line on the cut: $(cat "$T/c.log")"
	cmfs_stop c
done
expect "${left[1]}" "${left[2]}" "the same seed"
[ "${left[1]}" != "${left[3]}" ] || fail "another seed, the same content"

# What is no power cut, and where there is none.
refused() { # WORDS-OF-THE-ERROR WORDS-OF-THE-LOG COMMAND...
	local words=$1 log=$2
	shift 2
	! "$@" 2>"$T/err" || fail "$*: worked"
	grep -q "$words" "$T/err" || fail "$*: $(cat "$T/err")"
	[ -z "$log" ] || grep -q "$log" "$T/c.log" || fail "$*: not in the log: $log"
}
cmfs_start c -o powercut=on "$T/img" "$T/mnt"
for spec in "" Lose lose: random random: random:x torn:-1 prefix: "keep "; do
	refused "Invalid argument" "'$spec' is no power cut; there are lose, keep, random:SEED" \
		setfattr -n user.cmfs.powercut -v "$spec" "$img"
done
refused "Read-only" "" setfattr -x user.cmfs.powercut "$img"
cmfs_stop c
cmfs_start c "$T/img" "$T/mnt"
expect off "$(key)"
refused "not supported" "user.cmfs.powercut not changed: mounted without powercut=on" \
	setfattr -n user.cmfs.powercut -v lose "$img"
cmfs_stop c
