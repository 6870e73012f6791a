#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# With -f and NOTIFY_SOCKET, as systemd sets it for Type=notify: READY when the mount
# works and not before, the last error as STATUS, STOPPING before the last flush; by a
# socket with a path and by an abstract one. In the background nothing is said, and a
# socket that nobody reads is no failure.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"

mkdir "$T/mnt"
truncate -s 1M "$T/img"

# Write what arrives, a line for each message, until STOPPING.
cat >"$T/manager.py" <<'END'
import os, socket, sys
name, mountpoint, out = sys.argv[1:]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\0" + name[1:] if name[0] == "@" else name)
s.settimeout(60)
open(out + ".new", "w").close()
os.rename(out + ".new", out)
message = ""
while "STOPPING=1" not in message:
    message = s.recv(65536).decode()
    mounted = f" {mountpoint} fuse.cmfs " in open("/proc/self/mounts").read()
    with open(out, "a") as f:
        f.write(message.replace("\n", " ") + (" (mounted)" if mounted else "") + "\n")
END

manager=""
manager() { # SOCKET
	local i
	rm -f "$T/told" "$T/socket"
	python3 "$T/manager.py" "$1" "$T/mnt" "$T/told" &
	manager=$!
	for ((i = 0; i < 600; i++)); do
		[ ! -e "$T/told" ] || return 0
		sleep 0.05
	done
	fail "the manager does not start"
}

for socket in "$T/socket" "@$T/abstract"; do
	manager "$socket"
	NOTIFY_SOCKET=$socket cmfs_start c "$T/img" "$T/mnt"
	kill -TERM "${PID["c"]}"
	cmfs_wait c
	wait "$manager"
	expect "READY=1 STATUS=Serving (mounted)
STOPPING=1 STATUS=Flushing" "$(sed '2s/ (mounted)$//' "$T/told")" "what is told by $socket"
done

# What fails is told, and READY is not.
manager "$T/socket"
! NOTIFY_SOCKET=$T/socket "$CMFS" -f "$T/missing" "$T/mnt" 2>"$T/err" || fail "a missing image"
wait "$manager"
expect "STATUS=$(sed 's/^cmfs: //' "$T/err")
STOPPING=1" "$(cat "$T/told")" "a missing image"

# An image that has failed: the last word is its error.
manager "$T/socket"
NOTIFY_SOCKET=$T/socket cmfs_start c -o fault=flush:EIO "$T/img" "$T/mnt"
! dd if=/dev/zero of="$T/mnt/img" count=1 conv=notrunc,fsync status=none 2>/dev/null || fail "no EIO"
for ((i = 0; i < 600; i++)); do # the manager may take its time to read it
	! grep -q "^STATUS=img: .*failed: Input/output error; .* (mounted)$" "$T/told" || break
	sleep 0.05
done
[ $i -lt 600 ] || fail "P5 is not told: $(cat "$T/told")"
cmfs_stop c 1
wait "$manager"

# In the background the command's end is the word.
manager "$T/socket"
pid=""
NOTIFY_SOCKET=$T/socket "$CMFS" "$T/img" "$T/mnt"
daemon_of pid "$T/mnt"
umount "$T/mnt"
daemon_gone "$pid"
expect "" "$(cat "$T/told")" "told from the background"
kill "$manager"
wait "$manager" 2>/dev/null || true

# Nobody reads it; nobody is there.
for socket in "$T/socket" "@$T/nobody" vsock:2:1 "" / "$(printf '/%0200d' 0)"; do
	NOTIFY_SOCKET=$socket cmfs_start c "$T/img" "$T/mnt"
	cmfs_stop c
done
