# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Single file operations on handles that stay open, by tests/helpers/fileop.c
# (its commands are described there). Sourced after mount.sh.
#
#   fileop_start                 start it, by the command in fileop_by=() if any
#   fileop_stop                  end it, its handles are closed
#   op COMMAND ARG...            do one operation, print its answer
#   ok COMMAND ARG...            the same; an errno is a failure, nothing is printed
#   want ANSWER COMMAND ARG...   the same; any other answer is a failure

fileop_by=()

fileop_start() {
	rm -f "$T/op.in" "$T/op.out"
	mkfifo -m 600 "$T/op.in" "$T/op.out"
	"${fileop_by[@]}" "$(helper fileop)" <"$T/op.in" >"$T/op.out" 2>"$T/op.log" &
	PID["op"]=$!
	exec {OP_IN}>"$T/op.in" {OP_OUT}<"$T/op.out"
}

fileop_stop() {
	# Ended by a signal, not by the end of its input: at an exit LeakSanitizer runs,
	# with a process of its own that may outlive this one and keep files open.
	kill "${PID["op"]}" 2>/dev/null || true
	wait "${PID["op"]}" 2>/dev/null || true
	exec {OP_IN}>&- {OP_OUT}<&-
	unset "PID[op]"
}

op() {
	local answer
	echo "$*" >&"$OP_IN"
	read -r -t 300 -u "$OP_OUT" answer || fail "fileop $*: no answer: $(cat "$T/op.log")"
	echo "$answer"
}

ok() {
	local answer
	answer=$(op "$@")
	case "$answer" in E*) fail "$*: $answer" ;; esac
}

want() {
	local wanted=$1 answer
	shift
	answer=$(op "$@")
	expect "$wanted" "$answer" "$*"
}
