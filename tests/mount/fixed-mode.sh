#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# -o fixed-mode: no mode can be switched, only writeback and unsafe are taken, and
# without passthrough the kernel collects writes: they arrive when they are flushed,
# when the file is closed and when the daemon ends (P2, P12), and one that is lost
# on the way makes the image fail (P5).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

# Whatever the data path of this run: root would get passthrough.
cached=(-o "fixed-mode,passthrough=off")
mkdir "$T/mnt"

requests() { # OPCODE
	grep -c "opcode: $1 " "$T/c.log" || true
}

both() { # DD-ARG...: on the mounted file and on the wanted content
	dd "$@" if=/dev/urandom of="$T/piece" status=none
	dd "$@" if="$T/piece" of="$T/mnt/img" conv=notrunc status=none
	dd "$@" if="$T/piece" of="$T/wanted" conv=notrunc status=none
}

for mode in writeback unsafe; do
	head -c 4000000 /dev/urandom >"$T/img"
	cp "$T/img" "$T/wanted"
	cmfs_start c -d "${cached[@]}" -o cache="$mode" "$T/img" "$T/mnt"
	expect "daemon: passthrough=off; behind the kernel's write cache" \
		"$(getfattr --only-values --absolute-names -n user.cmfs.datapath "$T/mnt/img")"
	both bs=2000 count=1000
	both bs=1 count=1 seek=3999999
	both bs=7 count=100000 seek=570000 # grows
	echo "$mode: $(requests WRITE) WRITEs, $(requests GETATTR) GETATTRs for 101,001 writes"
	[ "$(requests WRITE)" -lt 500 ] || fail "$mode: the kernel collects nothing"
	[ "$(requests GETATTR)" -lt 50 ] || fail "$mode: the kernel asks before each write"
	expect "$(stat -c %s "$T/wanted")" "$(stat -c %s "$T/mnt/img")" "$mode: size"
	cmp "$T/img" "$T/wanted" # after close

	fileop_start
	ok open 1 "$T/mnt/img"
	ok write 1 1000001 5000 k
	printf 'k%.0s' {1..5000} | dd of="$T/wanted" bs=5000 oflag=seek_bytes seek=1000001 \
		conv=notrunc status=none
	! cmp -s "$T/img" "$T/wanted" || fail "$mode: not collected, the rest would prove nothing"
	# What is collected is data, not a hole, also where the image has nothing yet.
	ok write 1 6000000 5000 s
	truncate -s 6000000 "$T/wanted"
	printf 's%.0s' {1..5000} >>"$T/wanted"
	cp "$T/mnt/img" "$T/copy"
	cmp "$T/copy" "$T/wanted" || fail "$mode: cp takes data for a hole"
	ok fsync 1
	cmp "$T/img" "$T/wanted"
	ok write 1 2000001 5000 l
	printf 'l%.0s' {1..5000} | dd of="$T/wanted" bs=5000 oflag=seek_bytes seek=2000001 \
		conv=notrunc status=none

	! setfattr -n user.cmfs.cache -v unsafe "$T/mnt/img" 2>"$T/err" || fail "$mode: switched"
	grep -q "Read-only" "$T/err" || fail "$(cat "$T/err")"
	! setfattr -x user.cmfs.cache "$T/mnt/img" 2>/dev/null || fail "$mode: reverted"
	grep -q "user.cmfs.cache not changed: mounted with fixed-mode" "$T/c.log" || fail "no log line"

	kill -TERM "${PID[c]}" # while the handle is open and has dirty pages
	cmfs_wait c
	fileop_stop
	cmp "$T/img" "$T/wanted"
done

# What the daemon may not be given.
refused() { # WANTED-TEXT ARG...
	local text=$1
	shift
	! "$CMFS" "$@" "$T/img" "$T/mnt" 2>"$T/err" || fail "mounted: $*"
	grep -q "$text" "$T/err" || fail "$*: $(cat "$T/err")"
	! mounted "$T/mnt" || fail "$*: mounted"
}
for mode in none writethrough directsync; do
	refused "cache=$mode: fixed-mode is for writeback and unsafe" "${cached[@]}" -o cache=$mode
done
refused "fixed-mode" "${cached[@]}" -o persist
if setfattr -n user.cmfs.cache -v directsync "$T/img" 2>/dev/null; then
	refused "cache=directsync: fixed-mode is for" "${cached[@]}"
fi

# A collected write that finds no space: no later flush reports success.
[ "$(id -u)" = 0 ] || exit 0
mkdir "$T/small"
mount -t tmpfs -o size=4m none "$T/small"
track_mount "$T/small"
truncate -s 16M "$T/small/img"
cmfs_start c "${cached[@]}" "$T/small/img" "$T/mnt"
fileop_start
ok open 1 "$T/mnt/img"
for ((i = 0; i < 80; i++)); do
	op write 1 $((i * 65536)) 65536 x >/dev/null # 5 MiB; some may be refused already
done
case $(op fsync 1) in E*) ;; *) fail "fsync after lost writes worked" ;; esac
truncate -s 8M "$T/small/img"
fallocate -p -o 0 -l 8M "$T/small/img" # space again
want EIO fsync 1
want EIO fdatasync 1
grep -q "write in the background failed: No space left" "$T/c.log" || fail "$(cat "$T/c.log")"
fileop_stop
cmfs_stop c 1
