# shellcheck shell=bash disable=SC2154 # passthrough is mount.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Handles that the kernel serves by itself (passthrough): their reads and writes are
# those of the host file. Sourced after mount.sh.
#
#   served_by_kernel MODE [FLAG]...   is such a handle one that is opened in MODE with
#                                     FLAGs (rdonly direct dsync sync), others ignored,
#                                     while none of the other kind is open; with
#                                     was_mappable=1: after one that was served so
#   direct_align DIR                  what O_DIRECT demands of offsets and lengths there
#   refused_unaligned COMMAND...      it fails with EINVAL, as O_DIRECT on the host does

served_by_kernel() {
	local flags=" ${*:2} "
	[ "$passthrough" != off ] || return 1
	! grep -aqs 'data path: daemon' "$T"/*.log || return 1
	flags=${flags//,/ }
	case "$flags" in *" sync "*) flags+="dsync " ;; esac
	case "$1:$flags" in # the flags demand all that the mode demands
	writeback:*) ;;
	none:*" direct "*) ;;
	writethrough:*" rdonly "*) # else a later writer is to have its cache
		[ -n "${was_mappable:-}" ] ;;
	writethrough:*" dsync "*) ;;
	directsync:*" direct "*)
		case "$flags" in *" rdonly "* | *" dsync "*) ;; *) return 1 ;; esac
		;;
	unsafe:*" rdonly "*) ;;
	unsafe:*" dsync "*) return 1 ;; # who drops the flag is the daemon
	unsafe:*) ;;
	*) return 1 ;;
	esac
}

direct_align() {
	local align
	for align in 1 512 1024 2048 4096 65536; do
		dd if=/dev/zero of="$1/align.probe" bs=$align seek=1 count=1 oflag=direct \
			status=none 2>/dev/null || continue
		rm "$1/align.probe"
		echo $align
		return 0
	done
	fail "$1: no O_DIRECT"
}

refused_unaligned() {
	local message
	message=$(LC_ALL=C "$@" 2>&1 >/dev/null) && fail "unaligned, but not refused: $*"
	case "$message" in
	*"Invalid argument"*) ;;
	*) fail "unaligned: $*: $message" ;;
	esac
}
