# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the example scripts share. Source it after `set -euo pipefail`:
#
#   say TEXT...      print a line of explanation
#   run COMMAND...   print the command as one would type it, then run it
#   defer COMMAND... run COMMAND at the end, however the script ends
#   done_with N      the last N deferred commands were done by hand
#   need TOOL...     end with a message if a tool is missing
#   work_folder      make a folder that is removed at the end, and go there
#   cmfs ARG...      the cmfs to use: $CMFS, or build/ of this source, or PATH's
#   wait_gone FILE   wait for the end of the daemon with the pid file FILE (cmfs -P):
#                    umount returns earlier than the daemon's last flush
#   detach LOOP      losetup -d, and wait until the loop device is really free
#   unmount DIR      unmount whatever is mounted on DIR, for defer
#   release DIR      umount, tried again while DIR is busy: what passthrough or a loop
#                    device has open is closed a moment after its user
#   fdflags PID FILE the open flags of a daemon's descriptors of FILE, in words

SOURCE=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
PATH=$PATH:/usr/sbin:/sbin
deferred=()
shopt -s inherit_errexit

exec 3>&1 # run's own lines go here, past a pipe behind the command

say() {
	echo
	printf '# %s\n' "$@"
}

# An argument as it has to be typed.
typed() {
	case "$1" in
	'' | *[!A-Za-z0-9_./:=,+%@-]*) printf "'%s'" "${1//\'/\'\\\'\'}" ;;
	*) printf '%s' "$1" ;;
	esac
}

run() {
	local arg line=
	for arg in "$@"; do
		line+=" $(typed "$arg")"
	done
	printf '$%s\n' "$line" >&3
	"$@" 3>&-
}

defer() {
	deferred+=("$(printf '%q ' "$@")")
}

done_with() {
	deferred=("${deferred[@]:0:${#deferred[@]}-$1}")
}

at_exit() {
	local status=$? i
	trap - EXIT
	set +e
	cd /
	for ((i = ${#deferred[@]} - 1; i >= 0; i--)); do
		eval "${deferred[i]}" >/dev/null 2>&1
	done
	[ $status = 0 ] || echo "$(basename "$0"): failed (status $status), cleaned up" >&2
	exit $status
}
trap at_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

need() {
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null || {
			echo "$(basename "$0"): needs $tool (tools/setup.sh installs it)" >&2
			exit 1
		}
	done
}

need_root() {
	[ "$(id -u)" = 0 ] || {
		echo "$(basename "$0"): needs root, for losetup and mount" >&2
		exit 1
	}
}

work_folder() {
	local dir
	dir=$(mktemp -d "${TMPDIR:-/var/tmp}/cmfs-example.XXXXXX")
	defer rm -rf --one-file-system "$dir"
	cd "$dir" || exit
}

find_cmfs() {
	if [ -n "${CMFS:-}" ]; then
		CMFS=$(realpath "$CMFS")
	elif [ -x "$SOURCE/build/fuse/cmfs" ]; then
		CMFS=$SOURCE/build/fuse/cmfs
	else
		CMFS=$(type -P cmfs) || {
			echo "$(basename "$0"): no cmfs: build it (see README.md) or set CMFS" >&2
			exit 1
		}
	fi
}

cmfs() {
	"$CMFS" "$@" 3>&-
}

# A zombie is not, but the first thread is one before the others have let go of files.
alive() { # PID
	[ -e "/proc/$1" ] && ! awk '/^State:/ { zombie = $2 == "Z" }
		/^Threads:/ { exit !(zombie && $2 <= 1) }' "/proc/$1/status" 2>/dev/null
}

wait_gone() {
	local i pid
	for ((i = 0; i < 1200; i++)); do
		pid=$(cat "$1" 2>/dev/null) && alive "$pid" || return 0
		sleep 0.05
	done
	echo "$(basename "$0"): the daemon $pid is still there after a minute" >&2
	return 1
}

detach() {
	local i
	losetup -d "$1"
	for ((i = 0; i < 200; i++)); do # something like udev may look at it just now
		[ -e "/sys/class/block/${1#/dev/}/loop/backing_file" ] || return 0
		sleep 0.05
	done
	return 1
}

unmount() {
	while grep -qF " $1 " /proc/mounts; do
		umount "$1" || umount -l "$1" || return 1
	done
}

release() {
	local i message=
	for ((i = 0; i < 100; i++)); do
		message=$(LC_ALL=C umount "$1" 2>&1) && return 0
		case $message in
		*busy*) sleep 0.05 ;;
		*) break ;;
		esac
	done
	echo "$message" >&2
	return 1
}

fdflags() {
	local fd flags
	for fd in /proc/"$1"/fd/*; do
		[ "$(readlink "$fd")" = "$(realpath "$2")" ] || continue
		flags=$(awk '/^flags:/ { print $2 }' "/proc/$1/fdinfo/${fd##*/}")
		printf 'descriptor %s of %s: flags %s: O_%s%s%s\n' "${fd##*/}" "$(basename "$2")" "$flags" \
			"$([ $((flags & 3)) = 0 ] && echo RDONLY || echo RDWR)" \
			"$([ $((flags & 040000)) = 0 ] || echo ' O_DIRECT')" \
			"$([ $((flags & 010000)) = 0 ] || echo ' O_DSYNC')"
	done
}

# -h for all of them: the comment at the top of the script.
usage() {
	sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"
	exit "$1"
}
