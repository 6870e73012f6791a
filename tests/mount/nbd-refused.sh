#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# NBD exports that cannot be had (P10): no server, none of NBD, no such export, no such
# URI, read-only, no TLS, keys of files: one line that names the export, and no mount.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/nbd.sh
. "$LIB/nbd.sh"

mkdir "$T/mnt"

refused() { # STATUS REGEX ARG...
	local status=0 wanted=$1 regex=$2
	shift 2
	"$CMFS" "$@" "$T/mnt" >"$T/out" 2>&1 || status=$?
	[ $status != 0 ] || fail "$*: was mounted"
	expect "$wanted" $status "$*: status"
	expect 1 "$(wc -l <"$T/out")" "$*: lines: $(cat "$T/out")"
	grep -q "$regex" "$T/out" || fail "$*: $(cat "$T/out")"
	! mounted "$T/mnt" || fail "$*: is mounted"
}

# A server of something else: says one line to whoever comes.
say_hello() {
	python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("ready", flush=True)
while True:
    c, _ = s.accept()
    c.sendall(b"220 mail.example.org ESMTP, at your service\r\n")
    c.close()' "$T/mail.sock" >"$T/mail.log" &
	PID[mail]=$!
	until [ -s "$T/mail.log" ]; do
		kill -0 "${PID[mail]}"
		sleep 0.02
	done
}

refused 1 "^cmfs: nbd+unix:///x?socket=$T/none: cannot connect: .*No such file" \
	"nbd+unix:///x?socket=$T/none"
refused 1 "nbd+unix:///x: cannot connect: .*socket" nbd+unix:///x
refused 2 "nbd+tcp://h/x: not an NBD URI.*nbd://" nbd+tcp://h/x
refused 2 "socket= must be an absolute path" "nbd+unix:///x?socket=none"
refused 2 "persist=on is for files" -o persist=on "nbd+unix:///x?socket=$T/none"
refused 2 "locking=on is for files" -o locking=on "nbd+unix:///x?socket=$T/none"
refused 2 "syncflag=on is for files" -o syncflag=on "nbd+unix:///x?socket=$T/none"
refused 2 "reconnect-delay=soon: it is a number of seconds" -o reconnect-delay=soon \
	"nbd+unix:///x?socket=$T/none"
say_hello
refused 1 "mail.sock: cannot connect: .*magic" "nbd+unix:///x?socket=$T/mail.sock"

nbd_serve strict --filter=exportname memory 1M exportname-strict=true exportname=good
refused 1 "cannot connect: .*no export named 'bad'" "$(nbd_uri strict bad)"
refused 1 "cannot connect: .*TLS" "nbds+unix:///good?socket=$T/strict.sock"
refused 1 "would both be called 'good'" "$(nbd_uri strict good)" "$(nbd_uri strict good)"

nbd_serve ro -r memory 1M
refused 1 "^cmfs: $(nbd_uri ro x): the server exports it read-only (-o ro" "$(nbd_uri ro x)"
cmfs_start c --drive "file=$(nbd_uri ro x),readonly=on,name=other" "$T/mnt"
expect other "$(ls "$T/mnt")"
expect 400 "$(stat -c %a "$T/mnt/other")"
cmfs_stop c

nbd_serve odd --filter=blocksize-policy memory 1000000 blocksize-minimum=4096
refused 1 "its size, 1000000 bytes, is not a multiple of the server's minimum" "$(nbd_uri odd x)"
