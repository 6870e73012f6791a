#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# QEMU's tools on a qcow2 in the mount, in every mode and with caches of their
# own: patterns are read back, the image grows, is converted from and into, and
# is whole and the same when looked at on the host afterwards (P9).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

img=$T/mnt/img.qcow2

# io CACHE COMMAND...: qemu-io says nothing on success but for its statistics
io() {
	local cache=$1 c args=()
	shift
	for c in "$@"; do
		args+=(-c "$c")
	done
	qemu-io -f qcow2 -t "$cache" "${args[@]}" "$img" >"$T/io.log" 2>&1 ||
		{ cat "$T/io.log" && fail "cache=$mode: qemu-io -t $cache"; }
	! grep -iE 'fail|error|verif' "$T/io.log" || fail "cache=$mode: qemu-io -t $cache: $*"
}

check() { # FILE
	qemu-img check -q -f qcow2 "$1" || fail "cache=$mode: qemu-img check $1"
}

mkdir "$T/mnt"
head -c 8M /dev/urandom >"$T/reference"
for mode in $modes; do
	rm -f "$T/img.qcow2" "$T/target.raw"
	qemu-img create -q -f qcow2 "$T/img.qcow2" 64M
	truncate -s 8M "$T/target.raw"
	cmfs_start c -o cache="$mode" "$T/img.qcow2" "$T/target.raw" "$T/mnt"

	at=0
	for cache in none writeback writethrough directsync; do
		io $cache "write -P 0x5a ${at}M 1M" "write -P 0x33 $((at * 1024 + 100))k 64k" \
			"write -P 0x11 $((at * 1048576 + 512)) 512" flush \
			"write -z $((at * 1024 + 512))k 128k" "discard $((at * 1024 + 768))k 64k"
		for reader in none writeback; do
			io $reader "read -P 0x33 $((at * 1024 + 100))k 64k" \
				"read -P 0x11 $((at * 1048576 + 512)) 512" "read -P 0x5a ${at}M 512" \
				"read -P 0 $((at * 1024 + 512))k 128k" "read -P 0x5a $((at * 1024 + 1023))k 1k"
		done
		check "$img"
		at=$((at + 4))
	done
	qemu-img info -f qcow2 --output=json "$img" | grep -q '"virtual-size": 67108864' ||
		fail "cache=$mode: qemu-img info"

	# Into the image, and out of it.
	for cache in none writeback directsync; do
		qemu-img convert -n -t $cache -T $cache -f raw -O qcow2 "$T/reference" "$img"
		qemu-img convert -t $cache -T $cache -f qcow2 -O raw "$img" "$T/out.raw"
		cmp -n 8M "$T/reference" "$T/out.raw" || fail "cache=$mode: convert with $cache"
	done
	qemu-img convert -n -f raw -O raw "$T/reference" "$T/mnt/target.raw"
	qemu-img compare -q -f raw -F raw "$T/reference" "$T/mnt/target.raw"
	qemu-img compare -q -f qcow2 -F raw "$img" "$T/out.raw"
	qemu-img resize -q "$img" 96M
	qemu-img snapshot -c one "$img"
	io none "write -P 0x77 90M 1M" "read -P 0x77 90M 1M"
	qemu-img snapshot -a one "$img"
	check "$img"
	cmfs_stop c

	check "$T/img.qcow2"
	qemu-img compare -q -f qcow2 -F raw "$T/img.qcow2" "$T/out.raw" || fail "cache=$mode: compare"
	cmp "$T/reference" "$T/target.raw" || fail "cache=$mode: raw target"
done
