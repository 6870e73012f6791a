#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Everyday tools on an image that is mounted over itself, in each mode: sqlite3 with its
# journals beside it, which a directory mount does not allow; a loop device; qemu-img and
# qemu-io; cp and dd; shell redirections; locks. Renaming over it and removing it fail, and
# so its name stays under the mode.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

[ "$(id -u)" = 0 ] || skip "needs root for loop devices"

fill() { # JOURNAL
	sqlite3 -batch -bail img >/dev/null <<-SQL
		PRAGMA journal_mode=$1;
		PRAGMA synchronous=FULL;
		DROP TABLE IF EXISTS t;
		CREATE TABLE t(id INTEGER PRIMARY KEY, data BLOB);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
			INSERT INTO t SELECT i, zeroblob(i % 700) FROM n;
		BEGIN; DELETE FROM t WHERE id % 3 = 0; ROLLBACK;
		BEGIN; UPDATE t SET data = randomblob(500) WHERE id % 5 = 0; COMMIT;
		VACUUM;
	SQL
}

check_database() { # FILE
	expect ok "$(sqlite3 "$1" 'PRAGMA integrity_check')" "$mode: integrity"
	expect "1000|200" "$(sqlite3 "$1" 'SELECT count(*), sum(length(data) = 500 AND id % 5 = 0)
		FROM t')" "$mode: rows"
}

# A journal is beside the database, while a transaction is open.
check_journal_beside() { # PRAGMA-VALUE SUFFIX
	local said
	coproc DB { exec sqlite3 -batch img; }
	echo "BEGIN; DELETE FROM t WHERE id = 7; SELECT 'deleted';" >&"${DB[1]}"
	read -r -t 60 said <&"${DB[0]}" || fail "$mode: sqlite3 is silent"
	expect deleted "$said"
	[ -e "img$2" ] || fail "$mode, $1: no img$2 beside the image"
	# The lock of one keeps another out, by the file in the mount.
	! sqlite3 img "BEGIN IMMEDIATE" 2>"$T/err" || fail "$mode: two writers"
	grep -q "locked" "$T/err" || fail "$(cat "$T/err")"
	kill -KILL "$DB_PID"
	wait "$DB_PID" 2>/dev/null || true
	check_database img # the row is back
}

sqlite() {
	local journal
	touch img
	cmfs_start c -o cache="$mode" img img
	for journal in "DELETE -journal" "WAL -wal"; do
		# shellcheck disable=SC2086 # two words
		fill ${journal% *}
		check_database img
		# shellcheck disable=SC2086 # two words
		check_journal_beside $journal
	done
	sqlite3 img 'PRAGMA journal_mode=DELETE' >/dev/null
	cmfs_stop c
	check_database img
	rm img
}

dev= # set by loop_attach
loop() {
	truncate -s 16M img
	mkfs.ext4 -q img
	cmfs_start c -o cache="$mode" img img
	loop_attach dev img
	expect "$T/w/img" "$(losetup -n -O BACK-FILE "$dev")"
	mount "$dev" "$T/inner"
	cp "$T/data" "$T/inner/data"
	sync "$T/inner/data"
	! umount img 2>"$T/err" || fail "$mode: unmounted below a loop device"
	umount "$T/inner"
	loop_detach "$dev"
	cmfs_stop c
	fsck.ext4 -fn img >/dev/null 2>&1 || fail "$mode: fsck of the host file"
	debugfs -R "dump /data $T/got" img 2>/dev/null
	cmp "$T/data" "$T/got"
	rm img
}

qemu() {
	qemu-img create -q -f qcow2 img 16M
	cmfs_start c -o cache="$mode" img img
	qemu-img info img | grep -q 'file format: qcow2' || fail "$mode: qemu-img info"
	qemu-io -f qcow2 -t none -c 'write -P 0x5a 1M 1M' -c flush img >/dev/null
	qemu-img check -q img
	qemu-img resize -q img 32M
	cmfs_stop c
	qemu-io -f qcow2 -c 'read -P 0x5a 1M 1M' img | grep -q 'read 1048576' || fail "$mode: qcow2"
	qemu-img info img | grep -q '32 MiB' || fail "$mode: resize"
	rm img
}

refuses() { # WORDS COMMAND...
	! "${@:2}" 2>"$T/err" || fail "$mode: $*: worked"
	grep -qF "$1" "$T/err" || fail "$mode: ${*:2}: $(cat "$T/err")"
	mounted img || fail "$mode: ${*:2}: not mounted any more"
}

shell() {
	echo old >img
	ln img host
	cmfs_start c -o cache="$mode" img img
	echo first >img # O_CREAT|O_TRUNC
	echo second >>img
	expect "first second" "$(xargs <img)"
	expect "first second" "$(xargs <host)"
	: >img
	expect 0 "$(stat -c %s host)" "$mode: size"
	cp "$T/data" img
	cmp "$T/data" host
	cp img copy && cmp copy "$T/data"
	cat copy copy >img
	cmp -n 1000000 host copy
	expect 2000000 "$(stat -c %s img)" "$mode: size"
	dd if="$T/data" of=img bs=64K conv=fsync status=none
	cmp img "$T/data" && cmp host "$T/data"
	sed -n 1p img >/dev/null
	tar cf - img | tar xf - -C "$T/inner"
	cmp "$T/inner/img" "$T/data"
	rm "$T/inner/img"
	refuses "busy" mv copy img
	refuses "busy" mv img elsewhere
	refuses "busy" rm -f img
	refuses "" ln img another # another file system than its folder
	exec 9<img
	flock 9
	! flock -n img true || fail "$mode: flock"
	exec 9<&-
	flock -n img true || fail "$mode: flock is left"
	# Its folder is as it was: others come and go.
	touch beside && mv beside beside2 && rm beside2
	cmfs_stop c
	cmp img "$T/data"
	rm img host copy
}

mkdir "$T/w" "$T/inner"
head -c 1000000 /dev/urandom >"$T/data"
track_mount "$T/inner"
cd "$T/w"
for mode in $modes; do
	sqlite
	loop
	qemu
	shell
	expect "" "$(ls -A)" "$mode: what is left"
done
cd /
