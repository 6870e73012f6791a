#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Which requests a thousand reads or writes cost, exactly, in each mode and for each
# kind of handle: none where the kernel serves the handle by itself, none for what it
# has cached, else one each. There is nothing beside them: no question for attributes
# or for security.capability (FUSE_CAP_HANDLE_KILLPRIV_V2), no flush but the one that
# the kernel asks for after a durable write on a cached handle (P4).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
hostfs_make host ext4
N=1000

# Requests of our process since that line of the log: "OPCODE COUNT ...", sorted.
requests() { # LINE
	tail -n "+$(($1 + 1))" "$T/c.log" |
		sed -n "s/.*opcode: \([A-Z_]*\) .* pid: ${PID["op"]}\$/\1/p" |
		sort | uniq -c | awk '{ print $2, $1 }' | xargs
}

# costs NAME WANTED COMMAND HANDLE...: exactly that, or "" for none. Once in three times
# will do, as the machine may drop a page that it had cached; a HANDLE 2 is another one
# each time, opened before.
costs() {
	local name=$1 wanted=$2 command=$3 h=$4 from got
	shift 4
	for _ in 1 2 3; do
		[ "$h" = 1 ] || ok open "$h" "$T/mnt/img" rdonly
		from=$(wc -l <"$T/c.log")
		want $N "$command" "$h" "$@"
		got=$(requests "$from")
		[ "$got" != "$wanted" ] || break
		[ "$h" = 1 ] || h=$((h + 1))
	done
	printf '%s, %s, %d %s: %s\n' "$mode" "${how:-plain}" $N "$name" "${got:-no request}"
	[ "$wanted" = "$got" ] || sed -i '1,20!d' "$T/c.log" # the rest is long
	expect "$wanted" "$got" "$mode, ${how:-plain}, $N $name"
}

# What a handle's reads, reads of what was read before, and writes come to.
set_wanted() {
	local direct=0 dsync=0
	case $how in *direct*) direct=1 ;; esac
	case $how in *dsync*) dsync=1 ;; esac
	if served_by_kernel "$mode" "$how"; then
		read="" again="" write=""
		return
	fi
	read="READ $N" again="READ $N" write="WRITE $N"
	case $mode in none | directsync) return ;; esac
	# An O_DSYNC handle of unsafe beside which others would be served by the kernel.
	case $mode in unsafe | writeback) ! served_by_kernel "$mode" || return 0 ;; esac
	# A cached one.
	[ $direct = 1 ] || again=""
	[ $dsync = 0 ] || write="FSYNC $N WRITE $N"
}

mkdir "$T/mnt"
for mode in $modes; do
	for how in "" direct dsync "direct dsync"; do
		# Each on a mount of its own: no handle is open that it would have to join.
		head -c 4M /dev/zero >"$T/host/img"
		cmfs_start c -d -o cache="$mode" "$T/host/img" "$T/mnt"
		fileop_start
		set_wanted
		# shellcheck disable=SC2086 # words
		ok open 1 "$T/mnt/img" $how
		ok writes 1 0 4096 1024 x
		[ "$read" = "$again" ] || ok reads 1 0 4096 1024 # so that it is cached
		costs reads "$again" reads 1 0 4096 $N
		costs writes "$write" writes 1 0 4096 $N y
		costs "reads of what was written" "$again" reads 1 0 4096 $N
		if [ "$how" = "" ] && [ "$again" = "" ]; then
			costs "reads by a later handle" "" reads 2 0 4096 $N
		fi
		fileop_stop
		cmfs_stop c
		expect y "$(head -c $((N * 4096)) "$T/host/img" | tr -s y)" "$mode, $how: the image"
		rm "$T/host/img"
	done
done
