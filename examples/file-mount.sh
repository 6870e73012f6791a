#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# An image at its own path: a sqlite database is mounted over itself, so that sqlite
# need not be told anything, and makes its journal beside it as ever. The mode is switched
# while transactions run. Needs no root where users may mount (fusermount3).
#
# usage: examples/file-mount.sh [-h] [MODE]      (default: directsync)
#   CMFS=PATH    the cmfs to use (default: build/fuse/cmfs, or the one in PATH)
#   TMPDIR=PATH  where to work (default: /var/tmp)
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

case "${1:-}" in
-h | --help) usage 0 ;;
-*) usage 2 >&2 ;;
esac
[ $# -le 1 ] || usage 2 >&2
mode=${1:-directsync}
find_cmfs
need setfattr sqlite3 fusermount3
work_folder

say "A database, made without cmfs."
run sqlite3 test.db 'CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB);'

say "From here on, whoever opens test.db gets cache=$mode."
defer wait_gone "$PWD/cmfs.pid"
defer fusermount3 -u -z "$PWD/test.db"
run cmfs -o cache="$mode" -P cmfs.pid test.db test.db
run grep test.db /proc/mounts
run fdflags "$(cat cmfs.pid)" test.db

say "300 transactions, and meanwhile each mode in turn."
insert() {
	for ((n = 1; n <= 300; n++)); do
		echo "INSERT INTO t VALUES ($n, randomblob(2000));"
	done | sqlite3 -bail -cmd 'PRAGMA synchronous=FULL' test.db
}
insert 3>&- &
writer=$!
defer kill "$writer"
for to in writeback none writethrough directsync "$mode"; do
	run setfattr -n user.cmfs.cache -v "$to" test.db
	sleep 0.1
done
wait "$writer"
done_with 1
run sqlite3 test.db 'SELECT count(*) FROM t;' | tee count
[ "$(cat count)" = 300 ]

say "Its name is safe: what would put another file in its place fails."
if run mv count test.db; then
	exit 1
fi

say "The same from the host file, after a clean end."
run fusermount3 -u test.db
run wait_gone cmfs.pid
done_with 2
run sqlite3 test.db 'PRAGMA integrity_check;' | tee check
[ "$(cat check)" = ok ]
run sqlite3 test.db 'SELECT count(*) FROM t;' | cmp - count
