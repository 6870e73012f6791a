#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Faults, a write log and power cuts at the same time, one above the other, in every
# mode: what a cut leaves that loses all it may is what the log has up to its last flush,
# all of it in sync modes and nothing in unsafe; with all kept it is all of the log, which
# ends at the cut. What a fault rule fails gets into neither. Rules stay over a cut.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

replay=$(helper replay_log)
mkdir "$T/mnt"

get() { # KEY
	getfattr --absolute-names --only-values -n "user.cmfs.$1" "$T/mnt/img"
}

for kind in lose keep; do
	for mode in $modes; do
		what="$kind, cache=$mode"
		rm -f "$T/img" "$T/target" "$T/log"
		head -c 2M /dev/urandom >"$T/img"
		cp "$T/img" "$T/target"
		cmfs_start c -o "cache=$mode,powercut=on,fault=on,log-writes=$T/log" "$T/img" "$T/mnt"
		case $(get datapath) in
		"daemon: powercut=on, log-writes, fault" | "daemon: passthrough=off") ;;
		*) fail "$what: $(get datapath)" ;;
		esac
		fileop_start
		ok open 1 "$T/mnt/img"
		want 5000 write 1 1000 5000 a
		want 65536 write 1 131072 65536 b
		want 0 fallocate 1 punch 1048576 100000
		want 0 truncate 1 1900000
		want 0 fsync 1
		case $mode in
		writethrough | directsync) # a durable write that fails would be the end
			rule=zero:ENOSPC:range=512K-600K
			refused="fallocate 1 zero 524288 4096"
			;;
		*)
			rule=write:ENOSPC:range=512K-600K
			refused="write 1 524288 4096 x"
			;;
		esac
		setfattr -n user.cmfs.fault -v $rule "$T/mnt/img"
		# shellcheck disable=SC2086 # words are meant
		want ENOSPC $refused
		want 65536 write 1 700000 65536 c
		want 0 truncate 1 1950000
		fileop_stop
		setfattr -n user.cmfs.powercut -v $kind "$T/mnt/img"
		expect "$rule hits=1" "$(get fault)" "$what: rules"
		case $(get mark) in "stopped after "*) ;; *) fail "$what: mark: $(get mark)" ;; esac
		cp "$T/mnt/img" "$T/survived"
		# The next boot is not in the log.
		fileop_start
		ok open 1 "$T/mnt/img"
		want 4096 write 1 0 4096 d
		# shellcheck disable=SC2086 # words are meant
		want ENOSPC $refused
		want 0 fsync 1
		fileop_stop
		cmfs_stop c 1
		grep -q 'the write log .* has stopped: Operation canceled' "$T/c.log" ||
			fail "$what: the log of the daemon does not tell"

		"$replay" list "$T/log" >"$T/list"
		expect "mark 0 0 power cut" "$(tail -n 1 "$T/list" | cut -d ' ' -f 2-)" "$what"
		case $kind:$mode in
		keep:* | *:writethrough | *:directsync) count=$(wc -l <"$T/list") ;;
		lose:unsafe) count=0 ;;
		*) count=$(($(grep ' flush ' "$T/list" | tail -n 1 | cut -d ' ' -f 1) + 1)) ;;
		esac
		echo "$what: $count of $(wc -l <"$T/list") entries"
		"$replay" replay "$T/log" "$T/target" "$count"
		cmp -n "$(stat -c %s "$T/survived")" "$T/survived" "$T/target" ||
			fail "$what: the log has something else than the cut has left"
	done
done
