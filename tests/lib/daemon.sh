# shellcheck shell=bash disable=SC2034 # PID is mount.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Daemons in the background, which are nobody's children. Sourced after mount.sh.
#
#   daemon_of VAR MNT      pid of the cmfs that serves MNT; it is ended at the end
#   daemon_gone PID        wait until that process is no more

daemon_of() {
	local -n ret_pid=$1
	local first file
	ret_pid=""
	while read -r file; do # cmdline files with the mountpoint as an argument
		read -r -d '' first <"$file" || continue
		case "$first" in cmfs | */cmfs | */mount.cmfs | */mount.fuse.cmfs) ret_pid=$(cut -d / -f 3 <<<"$file") ;; esac
	done < <(grep -lszxF -e "$2" /proc/[0-9]*/cmdline || true)
	[ -n "$ret_pid" ] || fail "no cmfs serves $2"
	PID["daemon-$ret_pid"]=$ret_pid
	: >"$T/daemon-$ret_pid.log"
}

daemon_gone() {
	local i
	for ((i = 0; i < 1200; i++)); do
		# A zombie has ended; init may take its time to notice.
		if ! grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$1/status"; then
			unset "PID[daemon-$1]"
			return 0
		fi
		sleep 0.05
	done
	fail "process $1 does not end"
}
