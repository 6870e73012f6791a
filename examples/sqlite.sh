#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# sqlite with its write-ahead log, on a file system inside an image. (For a database
# that is itself the image see file-mount.sh: in a directory that cmfs mounts no journal
# can be made.) The mode is switched while transactions run. Needs root.
#
# usage: examples/sqlite.sh [-h] [MODE]      (default: none)
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
mode=${1:-none}
find_cmfs
need_root
need losetup mkfs.ext4 e2fsck setfattr sqlite3
work_folder

say "An image in cache=$mode with a file system inside."
run truncate -s 64M disk.raw
mkdir mnt inner
defer wait_gone "$PWD/cmfs.pid"
defer unmount "$PWD/mnt"
run cmfs -o cache="$mode" -P cmfs.pid disk.raw mnt
loop=$(losetup --show -f mnt/disk.raw)
defer detach "$loop"
run mkfs.ext4 -q "$loop"
defer unmount "$PWD/inner"
run mount "$loop" inner

say "A database with a write-ahead log; synchronous=FULL flushes at each commit."
run sqlite3 inner/test.db 'PRAGMA journal_mode=WAL;' \
	'CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB);'

say "300 transactions, and meanwhile each mode in turn."
insert() {
	for ((n = 1; n <= 300; n++)); do
		echo "INSERT INTO t VALUES ($n, randomblob(2000));"
	done | sqlite3 -cmd 'PRAGMA synchronous=FULL' inner/test.db
}
insert 3>&- &
writer=$!
defer kill "$writer"
for to in writeback directsync none writethrough "$mode"; do
	run setfattr -n user.cmfs.cache -v "$to" mnt/disk.raw
	sleep 0.1
done
wait "$writer"
done_with 1

run sqlite3 inner/test.db 'SELECT count(*) FROM t;' | tee count
[ "$(cat count)" = 300 ]
run sqlite3 inner/test.db 'PRAGMA integrity_check;' | tee check
[ "$(cat check)" = ok ]

say "The same from the host file, after a clean end."
run umount inner
run detach "$loop"
run umount mnt
run wait_gone cmfs.pid
done_with 4
run e2fsck -fn disk.raw
