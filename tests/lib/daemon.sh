# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Daemons in the background, which are nobody's children. Sourced after mount.sh.
#
#   daemon_of VAR MNT      pid of the cmfs that serves MNT; it is ended at the end
#   daemon_gone PID        wait until that process is no more

daemon_of() {
	local -n ret_pid=$1
	local args p
	ret_pid=""
	for p in /proc/[0-9]*; do
		mapfile -d '' -t args <"$p/cmdline" 2>/dev/null || continue
		case "${args[0]:-}" in cmfs | */cmfs) ;; *) continue ;; esac
		case " ${args[*]} " in *" $2 "*) ret_pid=${p#/proc/} ;; esac
	done
	[ -n "$ret_pid" ] || fail "no cmfs serves $2"
	PID["daemon-$ret_pid"]=$ret_pid
	: >"$T/daemon-$ret_pid.log"
}

daemon_gone() {
	local i
	for ((i = 0; i < 1200; i++)); do
		if ! kill -0 "$1" 2>/dev/null; then
			unset "PID[daemon-$1]"
			return 0
		fi
		sleep 0.05
	done
	fail "process $1 does not end"
}
