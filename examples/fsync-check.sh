#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Does a program keep its word when the power fails? Runs COMMAND in a folder on a
# disk, cuts the power while it runs, boots again and has a check look at what is
# there; again and again, each time a little later. Needs root.
#
# usage: examples/fsync-check.sh [-h] [-m MODE] [-n CUTS] [-c CHECK] COMMAND [ARG...]
#   -m MODE      cache mode of the disk (default: none)
#   -n CUTS      how many cuts (default: 20)
#   -c CHECK     shell command, run after each boot in the same folder; anything but
#                status 0 means that something acknowledged is lost
#   CMFS=PATH    the cmfs to use (default: build/fuse/cmfs, or the one in PATH)
#   TMPDIR=PATH  where to work (default: /var/tmp)
#   SEED=N       what survives (default: 1)
#
# COMMAND and CHECK find in $ACKED a file on another disk. COMMAND adds a line there for
# whatever it calls saved, after it has made sure. Without -c, a line is
# "SHA256  PATH" as sha256sum prints it, and those files must be there unchanged:
#
#   fsync-check.sh sh -c 'while :; do i=$((i + 1)); echo $i >f$i; sync f$i
#           sha256sum f$i >>$ACKED; done'
#
# Both run in a folder on the disk, 64 MiB of ext4: give programs by their whole path.
# ext4 forgives much (the fsync of a new file commits its name, too), so a program may be
# wrong and pass. What COMMAND itself says is shown only if it acknowledges nothing.
#
# The status is 1 if something was lost at any of the cuts.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=powercut-lib.sh
. "$SOURCE/examples/powercut-lib.sh"

# shellcheck disable=SC2016 # for the shell that runs it
mode=none cuts=20 check='sha256sum --check --quiet "$ACKED"'
seed=${SEED:-1}
while getopts hm:n:c: option; do
	case $option in
	h) usage 0 ;;
	m) mode=$OPTARG ;;
	n) cuts=$OPTARG ;;
	c) check=$OPTARG ;;
	*) usage 2 >&2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage 2 >&2
case "$cuts" in '' | *[!0-9]* | 0) usage 2 >&2 ;; esac
find_cmfs
work_folder
machine_need
export ACKED=$PWD/acked

# A new disk each time, and the command on it, in a process group of its own.
start() {
	machine_make "$mode"
	boot
	mkdir fs/work
	sync -f fs
	halt
	power_cut keep
	boot
	: >acked
	(cd fs/work && exec setsid "$@") >output 2>&1 3>&- &
	command=$!
}

command=
stop() {
	[ -n "$command" ] || return 0
	# All of its group, as any of them may have the disk open.
	kill -KILL -- -"$command" 2>/dev/null || true
	wait "$command" 2>/dev/null || true
	command=
}

milliseconds() {
	echo $(($(date +%s%N) / 1000000))
}

say "How long it takes when nothing happens (3 seconds at most)."
defer stop
start "$@"
begin=$(milliseconds)
for ((i = 0; i < 60; i++)); do
	alive "$command" || break
	sleep 0.05
done
took=$(($(milliseconds) - begin))
stop
echo "$took ms, $(wc -l <acked) lines in \$ACKED"
if [ ! -s acked ]; then
	echo "it has acknowledged nothing; its output:" >&2
	tail -n 20 output >&2
	exit 1
fi
[ "$took" -le 3000 ] || took=3000
machine_remove

say "$cuts power cuts in cache=$mode, from the start to $took ms after it."
lost=()
for ((i = 1; i <= cuts; i++)); do
	start "$@"
	sleep "$(printf '%d.%03d' $((took * i / cuts / 1000)) $((took * i / cuts % 1000)))"
	power_cut random:$((seed * 1000 + i))
	stop
	halt
	printf 'cut %3d of %d after %4d ms: %4d acknowledged: ' $i "$cuts" $((took * i / cuts)) \
		"$(wc -l <acked)"
	if ! boot; then
		verdict="LOST: the file system cannot be mounted: $(tail -n 1 mount.errors)"
	elif [ ! -s acked ]; then
		verdict="nothing to check"
	elif (cd fs/work && sh -c "$check") >output 2>&1; then
		verdict="all there"
	else
		verdict="LOST: $(head -n 1 output)"
	fi
	echo "$verdict"
	case $verdict in LOST*) lost+=("$i") ;; esac
	machine_remove
done

say "${#lost[@]} of $cuts cuts lost acknowledged data${lost[*]:+: ${lost[*]}}"
[ ${#lost[@]} = 0 ]
