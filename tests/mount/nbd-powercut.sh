#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The power-cut promises over NBD: the server has a volatile cache (nbdkit's cache filter)
# and is killed under its writers. What was acknowledged in a sync mode, by a handle with
# O_DSYNC, or before an fsync, is in the server's file (P1, P2, P4, P7), and what was not
# durable is lost: so this test can fail.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/nbd.sh
. "$LIB/nbd.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

mkdir "$T/mnt"
file=$T/mnt/disk
acked=$(helper acked)

start() { # MODE [FILTER]
	rm -f "$T/disk" "$T"/acks.*
	truncate -s 2M "$T/disk"
	nbd_serve s ${2:+--filter="$2"} --filter=cache file "$T/disk" cache=writeback
	cmfs_start c -o cache="$1" "$(nbd_uri s disk)" "$T/mnt"
}

write_for_a_while() { # SLICE FLAG...
	local slice=$1
	shift
	"$acked" write "$file" "$T/acks.$slice" "$@" >"$T/writer-$slice.log" 2>&1 &
	PID["writer-$slice"]=$!
	until [ -e "$T/acks.$slice" ] && [ "$(tr -d '\0' <"$T/acks.$slice" | wc -c)" != 0 ]; do
		kill -0 "${PID[writer-$slice]}" || fail "writer: $(cat "$T/writer-$slice.log")"
		sleep 0.02
	done
}

cut() { # SLICE...: their writers end of it
	local slice
	sleep 0.3
	nbd_kill s
	for slice in "$@"; do
		wait "${PID[writer-$slice]}" || fail "writer: $(cat "$T/writer-$slice.log")"
		unset "PID[writer-$slice]"
	done
}

end() { # the daemon cannot say that all is durable; in unsafe it need not
	local status=0
	umount "$T/mnt"
	wait "${PID[c]}" || status=$?
	unset "PID[c]"
	[ "$1" = any ] || expect "$1" $status "the daemon's status"
}

survived() { # SLICE...
	local slice
	for slice in "$@"; do
		"$acked" check "$T/disk" "$T/acks.$slice" >"$T/check.log" 2>&1 || return
	done
}

# Sync modes, with FUA and by flushes (the fua filter takes FUA away).
for mode in writethrough directsync; do
	for filter in "" fua; do
		start $mode $filter
		write_for_a_while 0
		write_for_a_while 1 direct
		cut 0 1
		end any # a write may just have been on its way, or not
		survived 0 1 || fail "cache=$mode, $filter: $(cat "$T/check.log")"
	done
done

# In the others, O_DSYNC's are there, ...
for mode in writeback none; do
	start $mode
	write_for_a_while 0 dsync
	write_for_a_while 1 direct dsync
	cut 0 1
	end any
	survived 0 1 || fail "cache=$mode, O_DSYNC: $(cat "$T/check.log")"
done
# ... and what nobody asked to be durable is not.
for mode in writeback none unsafe; do
	start $mode
	write_for_a_while 0
	cut 0
	if [ $mode = unsafe ]; then end 0; else end 1; fi
	! survived 0 || fail "cache=$mode: nothing was lost"
done

# What an fsync covered is there, whoever wrote it; and so is what a switch did.
for mode in writeback none unsafe; do
	start $mode
	fileop_start
	ok open 1 "$file"
	ok open 2 "$file" direct
	want 65536 write 1 0 65536 a
	want 65536 write 2 65536 65536 b
	if [ $mode = unsafe ]; then ok cache 1 none; else want 0 fsync 2; fi
	want 65536 write 1 131072 65536 c
	nbd_kill s
	fileop_stop
	end 1
	expect a "$(head -c 65536 "$T/disk" | tr -s a)" "cache=$mode: the first write"
	expect b "$(head -c 131072 "$T/disk" | tail -c 65536 | tr -s b)" "cache=$mode: the second"
	expect 0 "$(tail -c +131073 "$T/disk" | tr -d '\0' | wc -c)" "cache=$mode: bytes of the last"
done

# The power-cut layer on an export, whose durable writes are writes and flushes.
for mode in none directsync; do
	rm -f "$T/disk"
	truncate -s 1M "$T/disk"
	nbd_serve s --filter=fua file "$T/disk"
	cmfs_start c -o cache=$mode,powercut=on,fault=on "$(nbd_uri s disk)" "$T/mnt"
	expects=fsync
	[ $mode = none ] || expects=durable
	"$(helper powercut_writer)" "$file" 4 $RANDOM $expects || fail "cache=$mode: power cuts"
	cmfs_stop c
	nbd_kill s
done
