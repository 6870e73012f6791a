# shellcheck shell=bash disable=SC2154 # T is mount.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Locks on images, as QEMU has them (P8). Sourced after mount.sh.
#
#   locks FILE              which bytes of it are locked in that way, as "100-101 203"
#   refused PATTERN ARG...  cmfs ARG... says so in one line, its status is not 0, and
#                           nothing is mounted at its last argument

# From /proc/locks. It tells the file system's device, which stat(1) does not on btrfs:
# the inode's number has to do.
locks() {
	awk -v inode=":$(stat -c %i "$1")\$" '
		$2 == "OFDLCK" && $4 == "READ" && $6 ~ inode && $7 < 300 {
			print ($7 == $8 ? $7 : $7 "-" $8) }' /proc/locks | sort -n | uniq | xargs
}

refused() {
	local pattern=$1 status=0
	shift
	"$CMFS" "$@" >"$T/refused.log" 2>&1 || status=$?
	[ $status != 0 ] || fail "not refused: cmfs $*"
	expect 1 "$(wc -l <"$T/refused.log")" "cmfs $*: lines"
	grep -q "$pattern" "$T/refused.log" ||
		fail "cmfs $*: wanted '$pattern', got: $(cat "$T/refused.log")"
	! mounted "${!#}" || fail "mounted: cmfs $*"
}
