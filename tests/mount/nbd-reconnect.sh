#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A server that goes and comes back. Requests fail at once, or wait with
# reconnect-delay= and are sent again. What was acknowledged and not flushed may be lost
# with the server: then nothing is reported as durable any more (P2, P5), and a switch out
# of unsafe is refused (P7). In sync modes, and of images that were flushed, nothing is
# lost, and they go on. Another export in its place is not taken for it.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/nbd.sh
. "$LIB/nbd.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

mkdir "$T/mnt"
file=$T/mnt/disk

serve() { # [FILTER...]
	[ -e "$T/disk" ] || truncate -s 1M "$T/disk"
	nbd_serve s "$@" file "$T/disk"
}

start() { # MODE SECONDS
	rm -f "$T/disk"
	serve ${filter:+--filter="$filter"}
	cmfs_start c -o cache="$1",reconnect-delay="$2" "$(nbd_uri s disk)" "$T/mnt"
	fileop_start
	ok open 1 "$file" direct
	want 4096 write 1 0 4096 a
	want 0 fsync 1
}

finish() { # STATUS
	fileop_stop
	cmfs_stop c "$1"
	[ -z "${PID[s]:-}" ] || nbd_kill s
}

is_failed() {
	for _ in 1 2; do
		want EIO fsync 1
		want EIO fdatasync 1
	done
	grep -q '^cmfs: disk: .* failed: .*mounted anew' "$T/c.log" || fail "$1: not in the log"
}

# The daemon notices the end of an idle connection, and that of the next one.
until_it_answers() {
	local i
	for ((i = 0; i < 600; i++)); do
		[ "$(op read 1 0 4096)" != "4096 $1" ] || return 0
		sleep 0.02
	done
	fail "the server is back, and not found"
}

# At once (0): each request fails while it is away; what was flushed goes on afterwards.
for mode in writeback none writethrough directsync unsafe; do
	start "$mode" 0
	nbd_kill s
	want EIO read 1 0 4096
	serve
	until_it_answers a
	want 4096 write 1 4096 4096 b
	want 0 fsync 1
	finish 0
done

# A write that failed is one: in sync modes the image has failed, in others it is told.
start directsync 0
nbd_kill s
want EIO write 1 0 4096 b
serve
until_it_answers a
is_failed "directsync: a durable write failed"
finish 1
start none 0
nbd_kill s
want EIO write 1 0 4096 b
serve
until_it_answers a
want 4096 write 1 0 4096 c
want 0 fsync 1
finish 0

# With a delay requests wait. FUA writes are durable and so nothing is lost; where a server
# has none (the fua filter), a write and its flush are repeated.
for filter in "" fua; do
	for mode in writethrough directsync; do
		start "$mode" 60
		nbd_kill s
		echo "write 1 0 4096 b" >&"$OP_IN"
		sleep 0.3
		serve ${filter:+--filter="$filter"}
		read -r -t 60 -u "$OP_OUT" answer
		expect 4096 "$answer" "$mode: a write that waited"
		want 0 fsync 1
		nbd_kill s
		serve ${filter:+--filter="$filter"}
		want "4096 b" read 1 0 4096
		finish 0
	done
done
filter=

# Also where only the flush was not answered: the write was, but by a server that is gone.
die="[ ! -e $T/die ] || { rm $T/die; kill -KILL \$PPID; sleep 1; }"
for mode in writethrough directsync; do
	nbd_eval s can_flush='exit 0' can_fua='echo none' flush="$die"
	cmfs_start c -o cache=$mode,reconnect-delay=60 "$(nbd_uri s disk)" "$T/mnt"
	fileop_start
	ok open 1 "$file" direct
	want 4096 write 1 0 4096 a
	touch "$T/die"
	echo "write 1 0 4096 b" >&"$OP_IN"
	wait "${PID[s]}" 2>>"$T/killed.log" || true
	nbd_eval s can_flush='exit 0' can_fua='echo none' flush="$die"
	read -r -t 60 -u "$OP_OUT" answer
	expect 4096 "$answer" "$mode: a write whose flush was not answered"
	case $(nbd_requests s) in
	*"Write Flush"*) ;;
	*) fail "$mode: the write was not repeated: $(cat "$T/s.new")" ;;
	esac
	finish 0
done

# In flush modes that is so for what was flushed, ...
for mode in writeback none; do
	start $mode 60
	nbd_kill s
	serve
	want 4096 write 1 0 4096 b
	want 0 fsync 1
	nbd_kill s
	serve
	want "4096 b" read 1 0 4096
	# ... and no more for what was not; nor is it later on.
	want 4096 write 1 8192 4096 c
	nbd_kill s
	serve
	is_failed "$mode: unflushed writes went with the server"
	want EIO cache 1 directsync
	expect $mode "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$file")"
	finish 1
done
start unsafe 60
want 4096 write 1 0 4096 b
nbd_kill s
serve
want 4096 write 1 4096 4096 c
want 0 fsync 1 # means nothing here (P3)
want EIO cache 1 none
finish 0

# Another export is not ours; ours is, when it is back.
start none 60
nbd_kill s
nbd_serve s memory 2M
echo "read 1 0 4096" >&"$OP_IN"
! read -r -t 1 -u "$OP_OUT" answer || fail "another export was taken: $answer"
nbd_kill s
serve
read -r -t 60 -u "$OP_OUT" answer
expect "4096 a" "$answer" "our export is back"
finish 0

# A commit of an overlay that has lost what it wrote fails; one more writes all of it again.
rm "$T/s.disk"
nbd_eval s can_flush='exit 0' can_fua='echo none' flush="$die"
cmfs_start c -o snapshot=on,reconnect-delay=60 "$(nbd_uri s disk)" "$T/mnt"
fileop_start
ok open 1 "$file"
ok write 1 0 65536 a
touch "$T/die"
setfattr -n user.cmfs.commit -v now "$file" 2>"$T/err" &
PID["commit"]=$!
wait "${PID[s]}" 2>>"$T/killed.log" || true
truncate -s 0 "$T/s.disk" # as a server that has lost it
truncate -s 1M "$T/s.disk"
nbd_eval s can_flush='exit 0' can_fua='echo none' flush="$die"
! wait "${PID["commit"]}" || fail "a commit has worked that lost its writes"
unset "PID[commit]"
setfattr -n user.cmfs.commit -v now "$file" || fail "the commit that was to complete it"
expect 65536 "$(tr -cd a <"$T/s.disk" | wc -c)" "bytes of the overlay in the image"
want "65536 a" read 1 0 65536
ok write 1 0 65536 b
fileop_stop
cmfs_stop c
nbd_kill s

# It does not come back: the wait ends, and nobody can say that the end was flushed (P12).
start none 1
nbd_kill s
want EIO read 1 0 4096
want EIO write 1 0 4096 x
finish 1
