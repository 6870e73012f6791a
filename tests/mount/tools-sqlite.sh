#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# sqlite3 in every mode: on the image itself, with its journal in memory, as it
# could not make a file beside it; and with DELETE and WAL journals (the latter
# maps a shared file) on an ext4 inside a loop-mounted image. What was committed
# is there and in order after mounting anew (P9).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

[ "$(id -u)" = 0 ] || skip "needs root for loop devices"

fill() { # DATABASE JOURNAL
	sqlite3 -batch -bail "$1" >/dev/null <<-EOF
		PRAGMA journal_mode=$2;
		PRAGMA synchronous=FULL;
		CREATE TABLE t(id INTEGER PRIMARY KEY, word TEXT, data BLOB);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
			INSERT INTO t SELECT i, 'word ' || i, zeroblob(i % 700) FROM n;
		CREATE INDEX words ON t(word);
		BEGIN; DELETE FROM t WHERE id % 3 = 0; ROLLBACK;
		BEGIN; UPDATE t SET data = randomblob(500) WHERE id % 5 = 0; COMMIT;
		DELETE FROM t WHERE id > 1900;
		VACUUM;
	EOF
}

check() { # DATABASE
	expect "ok" "$(sqlite3 "$1" 'PRAGMA integrity_check')" "cache=$mode: integrity of $1"
	expect "1900|1805000" "$(sqlite3 "$1" 'SELECT count(*), sum(id) - 950 FROM t')" \
		"cache=$mode: rows of $1"
	expect "380" "$(sqlite3 "$1" "SELECT count(*) FROM t INDEXED BY words
		WHERE word > '' AND length(data) = 500 AND id % 5 = 0")" "cache=$mode: blobs of $1"
}

inner_mount() {
	loop_attach dev "$T/mnt/fs"
	track_mount "$T/inner"
	mount "$dev" "$T/inner"
}

inner_umount() {
	umount "$T/inner"
	loop_detach "$dev"
}

dev= # set by loop_attach
mkdir "$T/mnt" "$T/inner"
for mode in $modes; do
	rm -f "$T/db" "$T/fs"
	touch "$T/db"
	truncate -s 32M "$T/fs"
	mkfs.ext4 -q "$T/fs"

	cmfs_start c -o cache="$mode" "$T/db" "$T/fs" "$T/mnt"
	fill "$T/mnt/db" MEMORY
	check "$T/mnt/db"
	inner_mount
	fill "$T/inner/delete" DELETE
	fill "$T/inner/wal" WAL
	expect wal "$(sqlite3 "$T/inner/wal" 'PRAGMA journal_mode')"
	inner_umount
	cmfs_stop c

	check "$T/db"
	cmfs_start c -o cache="$mode" "$T/db" "$T/fs" "$T/mnt"
	check "$T/mnt/db"
	inner_mount
	check "$T/inner/delete"
	check "$T/inner/wal"
	inner_umount
	cmfs_stop c
	e2fsck -fn "$T/fs" >/dev/null 2>&1 || fail "cache=$mode: e2fsck of the host file"
done
