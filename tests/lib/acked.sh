# shellcheck shell=bash disable=SC2034,SC2154 # PID, passthrough are mount.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Writers that keep account of what was acknowledged (tests/helpers/acked.c).
# Sourced after mount.sh.
#
#   acked_start FILE     three writers on FILE, of 2 MiB or more: plain, O_DIRECT,
#                        O_DSYNC; returns once each of them has written
#   acked_wait           wait for their end, which is the daemon's; what they ended
#                        with is printed: "stopped" are those that the kernel goes
#                        on serving by itself (passthrough)
#   acked_check IMAGE    everything acknowledged is in IMAGE

acked_pids=()

acked_start() {
	local i how=("" direct dsync)
	acked_pids=()
	rm -f "$T"/acks.*
	for i in 0 1 2; do
		# shellcheck disable=SC2086 # no argument if empty
		"$(helper acked)" write "$1" "$T/acks.$i" ${how[i]} >"$T/acked-$i.log" 2>&1 &
		acked_pids+=($!)
		PID["acked-$i"]=$!
	done
	for i in 0 1 2; do
		while [ ! -e "$T/acks.$i" ] || [ "$(tr -d '\0' <"$T/acks.$i" | wc -c)" = 0 ]; do
			kill -0 "${acked_pids[i]}" || fail "writer $i: $(cat "$T/acked-$i.log")"
			sleep 0.02
		done
	done
}

acked_wait() {
	local i
	[ "$passthrough" = off ] || sleep 0.3
	for i in 0 1 2; do
		[ "$passthrough" = off ] || kill -TERM "${acked_pids[i]}" 2>/dev/null || true
		wait "${acked_pids[i]}" || fail "writer $i: $(cat "$T/acked-$i.log")"
		unset "PID[acked-$i]"
		echo "writer $i: $(cat "$T/acked-$i.log")"
	done
}

acked_check() {
	local i
	for i in 0 1 2; do
		"$(helper acked)" check "$1" "$T/acks.$i" || fail "writer $i: something is lost"
	done
}
