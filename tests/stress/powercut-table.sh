#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Power cuts counted: modes x kinds of cut x workloads, as a Markdown table. Nothing that
# was durable may be lost; where nothing is promised (unsafe, and writes without a flush
# in writeback and none) losses must be found, or the table could not show any. As root;
# the default takes about 20 minutes.
#
# usage: tests/stress/powercut-table.sh [-n CUTS] [-s CUTS] [-r SEED]
#   -n CUTS  in each cell of the fast workloads (default: 200)
#   -s CUTS  in each cell of those with a file system inside (default: 20)
#   -r SEED  repeats a table's cuts (default: 1)
#   CMFS=PATH BUILD=PATH  the cmfs, and the build whose helpers to use (default: build-plain)
set -euo pipefail
source=$(realpath "$(dirname "$0")/../..")
fast=200 slow=20 seed=1
while getopts n:s:r: option; do
	case $option in
	n) fast=$OPTARG ;;
	s) slow=$OPTARG ;;
	r) seed=$OPTARG ;;
	*) sed -n '/^# usage/,/^[^#]/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
	esac
done
BUILD=${BUILD:-$source/build-plain}
export CMFS=${CMFS:-$BUILD/fuse/cmfs}
modes="writeback none writethrough directsync unsafe"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/cmfs-powercuts.XXXXXX")
daemon=

# shellcheck disable=SC2317 # it is a trap
at_exit() {
	set +e
	[ -z "$daemon" ] || { umount -l "$work/mnt" && wait "$daemon"; }
	rm -rf --one-file-system "$work"
}
trap at_exit EXIT

start() { # MODE
	truncate -s 1M "$work/img"
	"$CMFS" -f -P "$work/pid" -o "powercut=on,cache=$1" "$work/img" "$work/mnt" 2>"$work/log" &
	daemon=$!
	while [ ! -s "$work/pid" ]; do
		kill -0 $daemon 2>/dev/null || { cat "$work/log" >&2 && exit 1; }
		sleep 0.02
	done
}

stop() {
	umount "$work/mnt"
	wait $daemon
	daemon=
	rm "$work/img"
}

row() { # WORKLOAD CUT MODE CUTS ACKED DURABLE-LOST OTHERS-LOST
	printf '| %-26s | %-6s | %-12s | %4s | %8s | %12s | %11s |\n' "$@"
}

failed=0
# What must be found, and what must not.
judge() { # MODE PROMISED DURABLE-LOST OTHERS-LOST CUT
	[ "$3" = 0 ] || failed=1
	case $2:$5 in
	no:lose | no:random | no:torn) [ "$4" != 0 ] || { echo "nothing lost: it proves nothing" && failed=1; } ;;
	yes:*) [ "$4" = 0 ] || failed=1 ;;
	esac
}

# Whether each acknowledged write is promised to be there.
promised() { # MODE OPTIONS
	case $1:" $2 " in
	writethrough:* | directsync:*) echo yes ;;
	unsafe:*) echo no ;;
	*" dsync "*) echo yes ;;
	*) echo no ;;
	esac
}

writer() { # NAME OPTION...
	local name=$1 mode kind said lost durable options
	shift
	for mode in $modes; do
		start "$mode"
		for kind in lose random torn prefix keep; do
			options=("$@" "kind=$kind")
			case $mode in
			writethrough | directsync) options+=(durable) ;;
			unsafe) options+=(ignored) ;;
			esac
			durable=0
			said=$("$BUILD/tests/helpers/powercut_writer" "$work/mnt/img" "$fast" "$seed" \
				"${options[@]}") || { durable="$said" && said="acked=? lost=?"; }
			lost=${said##*lost=} said=${said##*acked=}
			row "$name" $kind "$mode" "$fast" "${said%% *}" "$durable" "$lost"
			judge "$mode" "$(promised "$mode" "$*")" "$durable" "$lost" $kind
		done
		stop
	done
}

# A dd for each block, until one fails: those before it were acknowledged, and durable in
# all modes but unsafe.
write_blocks() {
	local i
	for ((i = 0; i < 256; i++)); do
		[ ! -e "$work/enough" ] || break
		dd if="$work/data" of="$work/mnt/img" bs=4096 count=1 skip=$i seek=$i oflag=dsync \
			conv=notrunc status=none 2>/dev/null || break
		echo $((i + 1)) >"$work/acked"
	done
}

dd_dsync() {
	local mode kind i n acked lost spec
	for ((i = 0; i < 256; i++)); do
		printf '%04d%4092s' $i ""
	done >"$work/data"
	for mode in $modes; do
		start "$mode"
		for kind in lose random torn; do
			acked=0 lost=0
			for ((i = 1; i <= fast; i++)); do
				dd if=/dev/zero of="$work/mnt/img" bs=1M count=1 conv=notrunc status=none
				setfattr -n user.cmfs.powercut -v keep "$work/mnt/img"
				echo 0 >"$work/acked"
				write_blocks &
				sleep "$(printf '0.%03d' $((5 + i * 7 % 40)))"
				spec=$kind
				[ $kind = lose ] || spec=$kind:$((seed * 1000 + i))
				setfattr -n user.cmfs.powercut -v $spec "$work/mnt/img"
				# The next dd opens what the next boot has: nothing of it counts.
				n=$(cat "$work/acked")
				touch "$work/enough"
				wait $!
				rm "$work/enough"
				acked=$((acked + n))
				cmp -s -n $((n * 4096)) "$work/data" "$work/mnt/img" || lost=$((lost + 1))
			done
			if [ "$mode" = unsafe ]; then
				row "dd oflag=dsync" $kind "$mode" "$fast" "$acked" - "$lost cuts"
				judge "$mode" no 0 $lost $kind
			else
				row "dd oflag=dsync" $kind "$mode" "$fast" "$acked" $lost -
				judge "$mode" yes $lost 0 $kind
			fi
		done
		stop
	done
}

# The examples print "mode | [journal |] cuts | acknowledged | lost | state" themselves.
example() { # NAME CUT SCRIPT COLUMNS
	local out line status=0 journal cuts acked lost state mode
	# shellcheck disable=SC2086 # words
	out=$(CUTS=$slow SEED=$seed "$source/examples/$3" $modes 2>"$work/err") || status=$?
	while IFS= read -r line; do
		[ "$4" = 6 ] || line=${line/|/||}
		IFS='|' read -r mode journal cuts acked lost state <<<"$line"
		row "$1${journal:+, }$(xargs <<<"$journal")" "$2" "$(xargs <<<"$mode")" \
			"$(xargs <<<"$cuts")" "$(xargs <<<"$acked")" "$(xargs <<<"$lost")" \
			"$(xargs <<<"$state")"
	done < <(tail -n +2 <<<"$out")
	[ $status = 0 ] || { cat "$work/err" && failed=1; }
	grep -E '^unsafe' <<<"$out" | grep -qvE '\| 0 +\| (clean|sound)' ||
		{ echo "unsafe: nothing lost: it proves nothing" && failed=1; }
}

mkdir "$work/mnt"
row workload cut mode cuts acked "durable lost" "others lost"
row -------- --- ---- ---: ----: -----------: -----------
writer "random writes"
writer "random writes, fsync" fsync rwf
writer "random writes, O_DSYNC" dsync
dd_dsync
example "ext4, files with fsync" random powercut-ext4.sh 5
example "sqlite in ext4" torn powercut-sqlite.sh 6
exit $failed
