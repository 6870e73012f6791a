# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What every mount test starts with:
#
#   . "$(dirname "$0")/../lib/mount.sh"
#
# It gives a work folder $T (left empty by the trap at the end, with every mount,
# loop device and daemon that was made through here, on failure too), and:
#
#   skip WHY                     end the test as skipped
#   fail WHAT                    end the test as failed
#   expect WANTED GOT [WHAT]     fail unless the two strings are the same
#   cmfs_start NAME ARG...       run $CMFS -f ARG..., wait until it is mounted;
#                                its pid is then in ${PID[NAME]}
#   cmfs_stop NAME [STATUS]      unmount, wait for its end, check the status
#   cmfs_wait NAME [STATUS]      wait for its end (after a signal, say)
#   cmfs_log NAME                what it printed
#   loop_attach VAR ARG...       losetup --show -f ARG..., detached at the end
#   loop_detach DEV              detach it now, and wait until it is
#   mounted MNT                  is something really mounted there?
#   track_mount MNT              unmount it at the end, too
#   fd_flags PID FILE            octal open flags of the daemon's descriptors of FILE,
#                                but for those that are there for a lock
#   $modes                       the five modes
#   helper NAME                  path of the C helper tests/helpers/NAME.c
#   $passthrough                 may the kernel do I/O itself in this run: auto or off
set -euo pipefail

: "${CMFS:?is set by tests/run.sh: the cmfs to test}"
: "${CMFS_BUILD:?is set by tests/run.sh: the build it is from}"
: "${CMFS_VARIANT:=plain}"
: "${CMFS_TEST_DIR:=/var/tmp}"
T=$(mktemp -d "$CMFS_TEST_DIR/cmfs-test.XXXXXX")
LIB=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
cd "$T" # what tools drop into the current folder goes with it
declare -A PID=() MNT=()
TRACKED_MOUNTS=()
TRACKED_LOOPS=()
modes="writeback none writethrough directsync unsafe"
export modes

# With CMFS_PASSTHROUGH=off every cmfs of the test, however it is started, gets the
# option before its own arguments, which may say otherwise.
passthrough=${CMFS_PASSTHROUGH:-auto}
if [ "$passthrough" != auto ]; then
	mkdir "$T.bin"
	printf '#!/bin/sh\nexec "%s" -o passthrough=%s "$@"\n' "$CMFS" "$passthrough" >"$T.bin/cmfs"
	chmod 755 "$T.bin" "$T.bin/cmfs"
	CMFS=$T.bin/cmfs
fi

# Tests that run cmfs as another user need what it reads to be within reach, which
# the checkout may not be.
chmod 711 "$T"
cp "$LIB/tsan.supp" "$T/"

# Sanitizers write beside the test, as a daemon's stderr may be gone.
export ASAN_OPTIONS="log_path=$T/sanitizer:detect_leaks=${CMFS_DETECT_LEAKS:-1}"
export UBSAN_OPTIONS="print_stacktrace=1:log_path=$T/sanitizer"
export TSAN_OPTIONS="log_path=$T/sanitizer:suppressions=$T/tsan.supp"

skip() {
	echo "$*"
	exit 77
}

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

expect() {
	[ "$1" = "$2" ] || fail "${3:-comparison}: wanted '$1', got '$2'"
}

helper() {
	echo "$CMFS_BUILD/tests/helpers/$1"
}

mounted() {
	grep -q " $(realpath -m "$1") fuse\.cmfs " /proc/mounts
}

cmfs_start() {
	local name=$1 i
	shift
	MNT[$name]=$(realpath "${!#}")
	"$CMFS" -f -P "$T/$name.pid" "$@" >"$T/$name.log" 2>&1 &
	PID[$name]=$!
	for ((i = 0; i < 600; i++)); do
		if [ -s "$T/$name.pid" ]; then
			mounted "${MNT[$name]}" || fail "$name: a pid file but no mount"
			return 0
		fi
		kill -0 "${PID[$name]}" 2>/dev/null || break
		sleep 0.05
	done
	cat "$T/$name.log" >&2
	fail "$name: cmfs $* did not come up"
}

cmfs_wait() {
	local name=$1 wanted=${2:-0} status=0
	wait "${PID[$name]}" || status=$?
	unset "PID[$name]"
	[ "$status" = "$wanted" ] || { cat "$T/$name.log" >&2 && fail "$name ended with $status"; }
}

# A loop device that was detached lets go of its file a moment later.
cmfs_stop() {
	local tries=0
	until umount "${MNT[$1]}" 2>"$T/umount.log"; do
		if ! grep -q busy "$T/umount.log" || [ $((tries++)) -ge 100 ]; then
			fail "$1: $(cat "$T/umount.log")"
		fi
		sleep 0.05
	done
	cmfs_wait "$@"
}

cmfs_log() {
	cat "$T/$1.log"
}

loop_attach() {
	local -n ret=$1
	shift
	ret=$(losetup --show -f "$@")
	TRACKED_LOOPS+=("$ret")
}

# Somebody (udev) may still be looking at the device: then the kernel detaches it
# later, and its number may be another's by the time of the trap.
loop_detach() {
	local i kept=()
	losetup -d "$1"
	for ((i = 0; i < 600; i++)); do
		[ -e "/sys/block/${1#/dev/}/loop/backing_file" ] || break
		sleep 0.05
	done
	for i in "${TRACKED_LOOPS[@]}"; do
		[ "$i" = "$1" ] || kept+=("$i")
	done
	TRACKED_LOOPS=(${kept[@]+"${kept[@]}"})
}

track_mount() {
	TRACKED_MOUNTS+=("$1")
}

fd_flags() {
	local fd flags=()
	for fd in /proc/"$1"/fd/*; do
		[ "$(readlink "$fd")" = "$(realpath "$2")" ] || continue
		! grep -q '^lock:.* 100 10[01]$' "${fd/\/fd\//\/fdinfo\/}" || continue
		flags+=("$(awk '/^flags:/ { print $2 }' "${fd/\/fd\//\/fdinfo\/}")")
	done
	printf '%s\n' "${flags[@]}" | sort
}

# Report what a sanitizer wrote; it may have been in a daemon that ended well.
sanitizer_reports() {
	local f found=1
	for f in "$T"/sanitizer.*; do
		[ -e "$f" ] || continue
		found=0
		cat "$f" >&2
	done
	return $found
}

cleanup() {
	local status=$? i name
	set +e
	trap - EXIT
	# Not to /dev/null: a /dev of the test's own could not be unmounted then.
	for ((i = ${#TRACKED_MOUNTS[@]} - 1; i >= 0; i--)); do
		umount "${TRACKED_MOUNTS[i]}" 2>>"$T/cleanup.log"
	done
	for ((i = ${#TRACKED_LOOPS[@]} - 1; i >= 0; i--)); do
		losetup -d "${TRACKED_LOOPS[i]}" 2>/dev/null
	done
	for name in "${!PID[@]}"; do
		[ "$status" = 0 ] || sed "s/^/$name: /" "$T/$name.log" >&2
		kill -KILL "${PID[$name]}" 2>/dev/null
		wait "${PID[$name]}" 2>/dev/null
	done
	for name in "${MNT[@]}"; do
		umount -l "$name" 2>/dev/null
	done
	for ((i = ${#TRACKED_MOUNTS[@]} - 1; i >= 0; i--)); do
		umount -l "${TRACKED_MOUNTS[i]}" 2>/dev/null
	done
	sanitizer_reports && [ "$status" != 77 ] && status=1
	rm -rf --one-file-system "$T" "$T.bin"
	exit "$status"
}
trap cleanup EXIT
