# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a daemon asks of its host, by strace. Sourced after mount.sh and fileop.sh.
#
#   strace_start NAME          trace the daemon NAME into $T/NAME.strace
#   strace_stop NAME           stop tracing it, or wait until it has ended
#   section NAME FROM TO       the lines between two `ok mark H LABEL`
#   events                     such lines (stdin) as words, in the order in which
#                              the calls began:
#       pwritev2:FLAGS:RWF     a write; FLAGS of the descriptor: plain, or of
#                              direct,dsync; RWF: 0, RWF_DSYNC, RWF_SYNC
#       CALL:FLAGS             another call on an image
#       +S, -S                 FS_IOC_SETFLAGS on it, with the sync flag or without,
#                              if ioctl was added to $strace_calls
#       reply                  the answer to a request, but for questions about
#                              attributes, which come at any time
#       EARLY-reply            an answer while a call on an image is not done
#   calls                      such lines as they are, without thread and paths
#
# LeakSanitizer cannot run in a traced process: CMFS_DETECT_LEAKS=0, before
# mount.sh is sourced.

strace_calls=openat,pread64,preadv2,pwrite64,pwritev2,fdatasync,fsync,ftruncate,fallocate
strace_calls+=,copy_file_range,sync_file_range,syncfs,sync,msync,writev,write,fgetxattr
declare -A STRACE=()

strace_attached() { # PID
	! grep -qs '^TracerPid:[[:space:]]*0$' /proc/"$1"/task/*/status
}

# Every descriptor of the daemon as a line of openat that is in the trace's head.
strace_descriptors() { # PID
	local fd flags words
	for fd in /proc/"$1"/fd/*; do
		flags=$((8#$(awk '/^flags:/ { print $2 }' "${fd/\/fd\//\/fdinfo\/}")))
		words=O_RDWR
		[ $((flags & 8#40000)) = 0 ] || words+='|O_DIRECT'
		[ $((flags & 8#10000)) = 0 ] || words+='|O_DSYNC'
		echo "$1 openat(AT_FDCWD, \"\", $words) = ${fd##*/}<$(readlink "$fd")>"
	done
}

strace_start() {
	local name=$1 i
	strace_descriptors "${PID[$name]}" >"$T/$name.fds"
	strace -f -y -q -s 48 -e trace="$strace_calls" -e signal=none -o "$T/$name.strace" \
		-p "${PID[$name]}" 2>/dev/null &
	STRACE[$name]=$!
	PID["strace-$name"]=$! # the clean-up ends it
	: >"$T/strace-$name.log"
	for ((i = 0; i < 600; i++)); do
		! strace_attached "${PID[$name]}" || return 0
		sleep 0.05
	done
	fail "strace did not attach to $name"
}

strace_stop() {
	kill "${STRACE[$1]}" 2>/dev/null || true
	wait "${STRACE[$1]}" || true
	unset "STRACE[$1]" "PID[strace-$1]"
}

section() {
	local i
	for ((i = 0; i < 600; i++)); do
		! grep -q "user\\.mark\\.$3\"" "$T/$1.strace" || break
		[ $i -lt 599 ] || fail "$3: no such mark in the strace"
		sleep 0.05
	done
	# Descriptors first, those opened meanwhile too; "events" only learns from them.
	sed 's/^/fd /' "$T/$1.fds"
	awk -v from="\"user.mark.$2\"" -v to="\"user.mark.$3\"" '
		index($0, "openat(") && !on { print "fd " $0 }
		index($0, to) { exit }
		on
		index($0, from) { on = 1 }' "$T/$1.strace"
}

events() {
	awk '
	function flags_of(line) {
		flags = (line ~ /O_DIRECT/ ? "direct," : "") (line ~ /O_DSYNC/ ? "dsync," : "")
		return flags == "" ? "plain" : substr(flags, 1, length(flags) - 1)
	}
	function say(word) { printf "%s%s", sep, word; sep = " " }
	/ openat\(/ && match($0, /\) = [0-9]+</) {
		class[substr($0, RSTART + 4, RLENGTH - 5)] = flags_of($0)
	}
	/ <\.\.\. openat resumed>/ && match($0, /\) = [0-9]+</) {
		class[substr($0, RSTART + 4, RLENGTH - 5)] = flags_of(opening[$1])
	}
	/ openat\(.*<unfinished/ { opening[$1] = $0 }
	$1 == "fd" { next }
	/ <\.\.\. .* resumed>/ { delete pending[$1]; next }
	/ writev?\([0-9]+<\/dev\/fuse>/ {
		# To nobody (a notification); ENODATA: marks, and security.capability;
		# ENOSYS: once for a request that libfuse does not know.
		if ($0 ~ /\\0\\0\\0\\0\\0\\0\\0\\0", iov_len=16}/ || $0 ~ /"\\20\\0\\0\\0\\3[03][32]\\377\\377\\377/)
			next
		if (/iov_len=104}/ && !busy[$1])
			next
		if (/iov_len=80}/) # statfs: somebody runs df
			next
		busy[$1] = 0
		early = ""
		for (tid in pending)
			early = "EARLY-"
		say(early "reply")
		next
	}
	/ (fgetxattr|openat|writev?)\(/ { next }
	match($0, /[a-z0-9_]+\([0-9]+<[^>]*\/img/) {
		split(substr($0, RSTART, RLENGTH), part, /[(<]/)
		word = part[1] ":" ((part[2] in class) ? class[part[2]] : "?")
		if (part[1] == "pwritev2")
			word = word ":" ($0 ~ /RWF_DSYNC/ ? "RWF_DSYNC" : $0 ~ /RWF_SYNC/ ? "RWF_SYNC" : "0")
		if (part[1] == "ioctl") {
			if ($0 !~ /FS_IOC_SETFLAGS/)
				next
			word = ($0 ~ /FS_SYNC_FL/ ? "+S" : "-S")
		}
		busy[$1] = 1
		if (/<unfinished/)
			pending[$1] = word
		say(word)
		next
	}
	/ (sync|syncfs)\(/ { say("sync") }
	END { print "" }'
}

calls() {
	sed -E '/^fd /d; / fgetxattr\(/d; /"\\20\\0\\0\\0\\3(03|32)/d
		s/^[0-9]+ +//; s|<[^<>]*/([^/<>]*)>|<\1>|g; s/"([^"\\]|\\.)*"(\.\.\.)?/"..."/g'
}
