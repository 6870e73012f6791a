#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Write logs and QEMU's: its blklogwrites finds its way through one of ours to the end
# and adds to it, and the tests' reader, which judges ours, reads QEMU's as well.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

command -v qemu-io >/dev/null || skip "needs qemu-io"
replay=$(helper replay_log)

qemu() { # EXTRA-OPTIONS COMMAND...: on $T/img, logging to $T/log
	local c args=()
	for c in "${@:2}"; do
		args+=(-c "$c")
	done
	qemu-io --image-opts "driver=blklogwrites,file.driver=file,file.filename=$T/img,\
log.driver=file,log.filename=$T/log$1" "${args[@]}" >"$T/io.log" 2>&1 || fail "$(cat "$T/io.log")"
	! grep -iE 'invalid|could not|fail' "$T/io.log" || fail "qemu-io: $*"
}

truncate -s 1M "$T/img" "$T/target"
: >"$T/log"
qemu "" "write -P 1 0 64k" flush "write -z 32k 32k" "write -P 2 128k 512" "write -P 3 1k 512" flush ||
	skip "QEMU has no blklogwrites"
"$replay" list "$T/log" >"$T/list" || fail "QEMU's log"
expect "0 write 0 65536 1 flush 0 0" "$(head -n 2 "$T/list" | xargs)" "QEMU's log"
expect 4 "$(grep -c ' write ' "$T/list")" "writes in QEMU's log"
"$replay" replay "$T/log" "$T/target"
cmp "$T/target" "$T/img" || fail "QEMU's log replayed"

rm "$T/log"
mkdir "$T/mnt"
cmfs_start c -o "cache=directsync,log-writes=$T/log" "$T/img" "$T/mnt"
qemu-io -f raw -t none -c 'write -P 4 4k 100k' -c flush -c 'discard 64k 64k' -c 'write -z 256k 1k' \
	-c 'write -P 5 300001 77' "$T/mnt/img" >"$T/io.log" 2>&1 || fail "$(cat "$T/io.log")"
setfattr -n user.cmfs.mark -v "over to QEMU" "$T/mnt/img"
cmfs_stop c
"$replay" list "$T/log" >"$T/ours"
qemu ,log-append=on "write -P 6 512k 4k" flush
"$replay" list "$T/log" >"$T/list" || fail "our log, with what QEMU added"
head -n "$(wc -l <"$T/ours")" "$T/list" | cmp - "$T/ours" || fail "QEMU went over our entries"
expect "write 524288 4096 flush 0 0" \
	"$(tail -n +$(($(wc -l <"$T/ours") + 1)) "$T/list" | head -n 2 | cut -d ' ' -f 2- | xargs)" \
	"what QEMU added"
"$replay" replay "$T/log" "$T/target"
cmp "$T/target" "$T/img" || fail "our log, with what QEMU added, replayed"
