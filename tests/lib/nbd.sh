# shellcheck shell=bash disable=SC2034 # PID is mount.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# NBD servers, on unix sockets. Sourced after mount.sh.
#
#   nbd_serve NAME ARG...        nbdkit ARG..., until it can be connected to
#   nbd_serve_qemu NAME ARG...   the same with qemu-nbd
#   nbd_kill NAME                kill it as a crash would, with what only it has
#   nbd_uri NAME [EXPORT]        where it is
#   nbd_eval NAME ARG...         nbdkit's eval plugin with a size of 1 MiB on $T/NAME.disk,
#                                which says and does what ARG... (key=script) say; requests
#                                are logged
#   nbd_requests NAME            what changes came since it was asked last, in order:
#                                "Write", "Write+FUA", "Zero", "Flush", ..., a word each

command -v nbdkit >/dev/null || skip "needs nbdkit"

nbd_uri() {
	echo "nbd+unix:///${2:-}?socket=$T/$1.sock"
}

nbd_started() { # NAME
	local i
	for ((i = 0; i < 600; i++)); do
		[ ! -s "$T/$1.server-pid" ] || return 0
		kill -0 "${PID[$1]}" 2>/dev/null || break
		sleep 0.02
	done
	cat "$T/$1.log" >&2
	fail "$1: the server did not come up"
}

nbd_serve() {
	local name=$1
	shift
	rm -f "$T/$name.sock" "$T/$name.server-pid"
	TMPDIR=$T nbdkit -f -U "$T/$name.sock" -P "$T/$name.server-pid" "$@" >>"$T/$name.log" 2>&1 &
	PID["$name"]=$!
	nbd_started "$name"
}

nbd_serve_qemu() {
	local name=$1
	shift
	rm -f "$T/$name.sock" "$T/$name.server-pid"
	qemu-nbd --persistent -k "$T/$name.sock" --pid-file="$T/$name.server-pid" "$@" \
		>>"$T/$name.log" 2>&1 &
	PID["$name"]=$!
	nbd_started "$name"
}

nbd_kill() {
	kill -KILL "${PID[$1]}"
	wait "${PID[$1]}" 2>/dev/null || true
	unset "PID[$1]"
}

nbd_eval_check= # commands before each write, that may end it

nbd_eval() {
	local name=$1 disk=$T/$1.disk
	shift
	[ -e "$disk" ] || truncate -s 1M "$disk"
	nbd_serve "$name" --filter=log eval logfile="$T/$name.requests" \
		get_size='echo 1M' can_write='exit 0' \
		pread="dd if=$disk iflag=skip_bytes,count_bytes count=\$3 skip=\$4 status=none" \
		pwrite="$nbd_eval_check dd of=$disk oflag=seek_bytes conv=notrunc seek=\$4 status=none" \
		"$@"
	echo 0 >"$T/$name.seen"
}

nbd_requests() {
	local seen
	seen=$(cat "$T/$1.seen" 2>/dev/null || echo 0)
	tail -n +$((seen + 1)) "$T/$1.requests" >"$T/$1.new"
	echo $((seen + $(wc -l <"$T/$1.new"))) >"$T/$1.seen"
	sed -nE 's/.* connection=[0-9]+ (Write|Zero|Trim|Flush) (.*)\.\.\.$/\1 \2/; t found; b
		:found
		/ fua=1/s/^([A-Za-z]*)/\1+FUA/
		s/ .*//p' "$T/$1.new" | xargs
}
