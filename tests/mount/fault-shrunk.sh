#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody truncates the host file while it is mounted (which is not supported, see
# CAVEATS): in every mode, and through the cache, O_DIRECT and a mapping, reads end
# early or give zeroes or EIO. The daemon neither dies nor hangs, and the image works on.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"

# An old content, zeroes, less than asked for, or an error; but no end and no silence.
may_answer() { # COMMAND...
	local answer
	answer=$(op "$@")
	case $answer in
	"$4 a" | "$4 mixed" | "$4 "?0 | *" "*) ;;
	0 | EIO) ;;
	*) fail "cache=$mode: $*: $answer" ;;
	esac
}

mkdir "$T/mnt"
for mode in $modes; do
	head -c 4M /dev/zero | tr '\0' a >"$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" direct
	want "4096 a" read 1 0 4096
	ok mmap 1 0 65536
	want "4096 a" peek 1 0 4096

	truncate -s 1049000 "$T/img" # not whole blocks
	for handle in 1 2; do
		may_answer read $handle 3145728 4096
		may_answer read $handle 1048576 4096
		want "4096 a" read $handle 65536 4096
	done
	# Over what the end cuts now, and behind it.
	answer=$(op write 1 1049500 100 b)
	case $answer in 100 | EIO) ;; *) fail "cache=$mode: write over the end: $answer" ;; esac
	want 8192 write 2 2097152 8192 c
	want "8192 c" read 2 2097152 8192
	want 0 fsync 1
	expect $((2097152 + 8192)) "$(stat -c %s "$T/mnt/img")" "cache=$mode: size"

	truncate -s 0 "$T/img"
	may_answer read 1 0 4096
	may_answer read 2 0 4096
	truncate -s 4M "$T/img"
	want 4096 write 2 0 4096 d
	want "4096 d" read 2 0 4096
	want "4096 d" read 1 0 4096
	want 0 fsync 1
	# The pages of the mapping are there again; while they were not, it would have
	# been SIGBUS, as with any file.
	may_answer peek 1 0 4096
	kill -0 "${PID[c]}" || fail "cache=$mode: the daemon is gone"
	fileop_stop
	cmfs_stop c
done
