#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# sqlite in a file system on an image whose power is cut amid transactions: after the
# next boot, is every row there whose COMMIT had returned, and is the database sound?
# With a rollback journal (DELETE) and a write-ahead log (WAL). In every mode but unsafe
# both must hold. Needs root.
#
# synchronous=EXTRA, as with FULL sqlite does not flush the folder after it has removed
# the journal, which is the commit: the last transaction may come undone. (Try it with
# SYNCHRONOUS=FULL.)
#
# usage: examples/powercut-sqlite.sh [-h] [MODE...]    (default: none writethrough unsafe)
#   CMFS=PATH    the cmfs to use (default: build/fuse/cmfs, or the one in PATH)
#   TMPDIR=PATH  where to work (default: /var/tmp)
#   CUTS=N       power cuts for each journal (default: 3)
#   SEED=N       what survives (default: 1)
#   SYNCHRONOUS=WORD  sqlite's PRAGMA synchronous (default: EXTRA)
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=powercut-lib.sh
. "$SOURCE/examples/powercut-lib.sh"

case "${1:-}" in
-h | --help) usage 0 ;;
-*) usage 2 >&2 ;;
esac
cuts=${CUTS:-3}
seed=${SEED:-1}
synchronous=${SYNCHRONOUS:-EXTRA}
find_cmfs
need sqlite3 stdbuf
work_folder
machine_need

# One transaction a row; its number is printed when the commit has returned. Ends with
# the first that fails.
insert_rows() { # FIRST
	local n
	for ((n = $1; ; n++)); do
		echo "INSERT INTO t VALUES ($n, randomblob(1500)); SELECT $n;"
	done 2>/dev/null | stdbuf -oL sqlite3 -bail -cmd "PRAGMA synchronous=$synchronous" \
		fs/test.db >>committed 2>/dev/null || true
}

ask() { # SQL
	sqlite3 -bail fs/test.db "$1" 2>/dev/null
}

make_database() { # JOURNAL
	boot
	ask "PRAGMA journal_mode=$1; CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB);" >/dev/null
	: >committed
	sync -f fs
	halt
	power_cut keep # as if it had been there for long, in unsafe too
}

# Sets rows, lost, state.
try() { # MODE JOURNAL
	local round writer there
	machine_make "$1"
	make_database "$2"
	lost=0 state=sound
	for ((round = 1; round <= cuts; round++)); do
		boot || { state="no file system" && break; }
		insert_rows $(($(tail -n 1 committed | grep . || echo 0) + 2)) &
		writer=$!
		sleep 0.7
		power_cut torn:$((seed * 100 + round))
		wait $writer
		halt
		boot || { state="no file system" && break; }
		# The first to open it rolls back, or takes over the log.
		[ "$(ask 'PRAGMA integrity_check' || true)" = ok ] || state=damaged
		there=$(ask 'SELECT n FROM t' | sort | comm -12 - <(sort committed) | wc -l) || there=0
		lost=$(($(wc -l <committed) - there))
		halt
		[ "$state" = sound ] || break
	done
	rows=$(wc -l <committed)
	[ "$state" != "no file system" ] || lost=$rows
	machine_remove
}

status=0
[ $# -gt 0 ] || set -- none writethrough unsafe
printf '%-14s| %-8s| %-5s| %-15s| %-5s| %s\n' mode journal cuts 'rows committed' lost database
for mode; do
	for journal in DELETE WAL; do
		try "$mode" $journal
		printf '%-14s| %-8s| %-5s| %-15s| %-5s| %s\n' "$mode" $journal "$cuts" "$rows" "$lost" \
			"$state"
		if [ "$mode" != unsafe ] && [ "$lost $state" != "0 sound" ]; then
			case $synchronous in
			EXTRA) echo "$mode: BROKEN PROMISE: the commit had returned (P1, P2)" >&2 ;;
			*) echo "$mode: lost, as sqlite does not flush all with $synchronous" >&2 ;;
			esac
			status=1
		fi
	done
done
exit $status
