#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The same promises where a direct mode does more than one call for a write: unaligned
# writes, appends, writes over the cut end of the file. In directsync every write goes
# through an O_DSYNC descriptor (P1), in none each takes the application's own flag
# along (P4) and nothing flushes unasked; replies come last.
CMFS_DETECT_LEAKS=0
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"

n=0
# The writes of a request, by the mode's descriptor and flag, then one reply.
check() { # FLAG COMMAND...
	local flag=$1 word writes=0 got
	shift
	n=$((n + 1))
	ok mark 1 "b$n"
	ok "$@"
	ok mark 1 "e$n"
	got=$(section c "b$n" "e$n" | events)
	echo "$mode, $*: $got"
	case "$got" in *EARLY*) fail "a reply before its time" ;; *" reply") ;; *) fail "no reply" ;; esac
	for word in $got; do
		case "$mode,$word" in
		directsync,pwritev2:dsync:* | directsync,pwritev2:direct,dsync:*) ;;
		none,pwritev2:plain:"$flag" | none,pwritev2:direct:"$flag") ;;
		*,pwritev2:*) fail "$mode: a write by $word" ;;
		*,sync_file_range:* | *,pread64:* | *,reply | *,ftruncate:* | *,fallocate:*) continue ;;
		directsync,fdatasync:direct,dsync) continue ;;
		*) fail "$mode: $word is not expected" ;;
		esac
		writes=$((writes + 1))
	done
	case $1 in
	write) [ $writes -ge 1 ] || fail "no write" ;;
	*) [ "$mode" = none ] || [ "${got% fdatasync:direct,dsync reply}" != "$got" ] ||
		fail "no flush right before the reply" ;;
	esac
}

mkdir "$T/mnt"
for mode in none directsync; do
	head -c 1000100 /dev/zero >"$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	ok open 3 "$T/mnt/img" sync
	ok open 4 "$T/mnt/img" append
	strace_start c
	for how in "1 0" "2 RWF_DSYNC" "3 RWF_SYNC"; do
		h=${how% *} flag=${how#* }
		check "$flag" write "$h" 10 10 a       # inside a block
		check "$flag" write "$h" 4000 20000 b  # two edges
		check "$flag" write "$h" 999990 20 c   # in the last block
		check "$flag" write "$h" 990000 10100 d # up to the end
		check "$flag" write "$h" 1000090 9000 e # over the end
		ok truncate 1 1000100
	done
	check RWF_DSYNC write 1 10 10 f dsync
	check RWF_SYNC write 1 999990 20 g sync
	check 0 write 4 0 10 h # append
	check 0 write 4 0 8192 i
	check RWF_DSYNC write 4 0 9999 j dsync
	check 0 truncate 1 1000001
	check 0 truncate 1 2000001
	check 0 fallocate 1 punch 1001 5000
	check 0 fallocate 1 zero 100001 70000
	check 0 fallocate 1 alloc 2000001 70000
	check 0 fallocate 1 keep 3000001 70000
	strace_stop c
	fileop_stop
	cmfs_stop c
done
