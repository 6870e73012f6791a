# shellcheck shell=bash disable=SC2154 # passthrough is mount.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What an image says once a flush or a durable write has failed (P5), and before.
# Sourced after mount.sh and fileop.sh; the daemon is "c", its image $T/mnt/img; handle
# 1 of fileop is a plain one, 2 has O_DSYNC.
#
#   failure_count             how often a failure was logged
#   is_failed WHAT            nothing promises durability any more, again and again
#   is_sound WHAT             the image has not failed, and is durable on demand
#   is_errno WHAT ANSWER NAME...   the answer is one of these errors
#   refuses_switches WHAT     each switch fails but that to unsafe, and back from it
#   unmount DIRECTORY         as soon as nobody uses it: LeakSanitizer looks at a daemon
#                             that has ended with a process that still has its files

failure_count() {
	grep -c '^cmfs: img: .* failed: .*mounted anew' "$T/c.log" || true
}

failure() {
	getfattr --absolute-names --only-values -n user.cmfs.error "$T/mnt/img"
}

is_failed() {
	local _
	for _ in 1 2 3; do
		want EIO fsync 1
		want EIO fdatasync 2
		# What the kernel serves by itself is its writer's own business.
		[ "$passthrough" != off ] || want EIO write 2 8192 4096 z
	done
	[ "$(failure)" != none ] || fail "$1: user.cmfs.error does not tell"
	expect 1 "$(failure_count)" "$1: times that the failure is logged"
}

is_sound() {
	expect none "$(failure)" "$1: user.cmfs.error"
	expect 0 "$(failure_count)" "$1: failures in the log"
	want 0 fsync 1
	want 0 fdatasync 2
	want 4096 write 2 8192 4096 z
}

is_errno() {
	local what=$1 answer=$2 name
	shift 2
	for name in "$@"; do
		[ "$answer" != "$name" ] || return 0
	done
	fail "$what: answered $answer, not one of: $*"
}

refuses_switches() {
	local before mode
	before=$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img")
	for mode in writeback none writethrough directsync; do
		want EIO cache 1 $mode
		expect "$before" "$(getfattr --absolute-names --only-values -n user.cmfs.cache \
			"$T/mnt/img")" "$1: the mode after a refused switch"
	done
	ok cache 1 unsafe
	want 0 fsync 1
	want EIO cache 1 "$before"
}

unmount() {
	local i
	for ((i = 0; i < 200; i++)); do
		! umount "$1" 2>/dev/null || return 0
		sleep 0.05
	done
	umount "$1"
}
