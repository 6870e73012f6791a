#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One writer (P8): a second cmfs on an image is refused if either of them writes; those
# that only read share it. locking=off is not kept out and keeps nobody out. A lock goes
# with its mount, however that ends (P11), and what is refused leaves nothing (P10).
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/lock.sh
. "$LIB/lock.sh"

mkdir "$T/mnt" "$T/other"
truncate -s 1M "$T/img" "$T/free"
truncate -s 64K "$T/last"

# pair FIRST SECOND WANTED: options of two mounts of $img, and can they be together?
img=$T/img
pair() {
	cmfs_start first -o "$1" "$img" "$T/mnt"
	if [ "$3" = together ]; then
		cmfs_start second -o "$2" "$img" "$T/other"
		cmfs_stop second
	else
		refused "$(basename "$img"): is in use: $3" -o "$2" "$img" "$T/other"
	fi
	cmfs_stop first
	expect "" "$(locks "$img")" "$1, then $2: locks left"
}

writing='another process holds the "write" lock on it'
reading='another process lets nobody else have the "write" lock on it'
pair rw rw "$writing"
pair rw ro "$writing"
pair ro rw "$reading .*; -o ro shares it with that one, locking=off opens it all the same\$"
pair ro ro together
for mode in $modes; do
	pair cache="$mode" cache="$mode" "$writing"
done
pair locking=on rw "$writing"
pair rw locking=on "$writing"
pair ro,locking=on ro,locking=auto together
pair rw locking=off together
pair locking=off rw together
pair locking=off locking=off together

# A device that a cmfs writes to is kept from all other programs besides, by O_EXCL.
if [ "$(id -u)" = 0 ]; then
	truncate -s 1M "$T/disk"
	loop_attach img "$T/disk"
	pair rw ro "$writing"
	pair ro rw "$reading"
	pair ro ro together
	pair rw ro,locking=off together
	pair locking=off ro together
	cmfs_start c "$img" "$T/mnt"
	expect "100-101 103 201 203" "$(locks "$img")" "a device"
	setfattr -n user.cmfs.cache -v directsync "$T/mnt/$(basename "$img")"
	expect "100-101 103 201 203" "$(locks "$img")" "a device, switched"
	cmfs_stop c
fi

# What each of them holds is QEMU's bytes.
cmfs_start c "$T/img" "$T/mnt"
expect "100-101 103 201 203" "$(locks "$T/img")" "for writing"
cmfs_stop c
cmfs_start c -o ro "$T/img" "$T/mnt"
expect "100 201 203" "$(locks "$T/img")" "for reading"
cmfs_stop c
cmfs_start c -o locking=off "$T/img" "$T/mnt"
expect "" "$(locks "$T/img")" "locking=off"
cmfs_stop c

# Of several images each has its own; if one is in use, nothing is mounted or locked.
cmfs_start first "$T/img" "$T/mnt"
for how in -f ""; do
	# shellcheck disable=SC2086 # no argument if empty
	refused "img: is in use" $how "$T/free" "$T/img" "$T/last" "$T/other"
done
expect "" "$(locks "$T/free")$(locks "$T/last")" "beside one in use"
cmfs_start second --drive "file=$T/free,readonly" --drive "file=$T/img,locking=off" \
	--drive "file=$T/last" "$T/other"
expect "100 201 203" "$(locks "$T/free")" "readonly"
expect "100-101 103 201 203" "$(locks "$T/last")" "the last one"
cmfs_stop second
expect "100-101 103 201 203" "$(locks "$T/img")" "after locking=off"
cmfs_stop first
refused "'locking=yes'\|locking=yes: no such value; there are auto, on, off" \
	-o locking=yes "$T/img" "$T/mnt"

# The file is locked, not its name.
cmfs_start c "$T/img" "$T/mnt"
ln "$T/img" "$T/hard"
ln -s img "$T/soft"
for name in hard soft; do
	refused "$name: is in use: $writing" "$T/$name" "$T/other"
done
cmfs_stop c

# However a mount ends.
for signal in KILL TERM INT; do
	cmfs_start c "$T/img" "$T/mnt"
	kill -$signal "${PID[c]}"
	wait "${PID[c]}" || true
	unset "PID[c]"
	expect "" "$(locks "$T/img")" "after SIG$signal"
	[ $signal != KILL ] || rm "$T/c.pid"
	cmfs_start again "$T/img" "$T/mnt"
	cmfs_stop again
done

# Of many at a time one gets in, at most; who is in is no worse for it.
for round in 1 2 3; do
	tries=()
	for i in 1 2 3 4; do
		mkdir -p "$T/many/$i"
		"$CMFS" -f -P "$T/many/$i.pid" "$T/img" "$T/many/$i" >"$T/many$i.log" 2>&1 &
		tries+=($!)
		PID["many$i"]=$!
		MNT["many$i"]=$T/many/$i
	done
	in=""
	for i in 1 2 3 4; do
		while kill -0 "${tries[i - 1]}" 2>/dev/null && [ ! -s "$T/many/$i.pid" ]; do
			sleep 0.02
		done
		if [ -s "$T/many/$i.pid" ]; then
			in="$in $i"
		else
			! wait "${tries[i - 1]}" || fail "round $round: ended with status 0"
			grep -q "is in use" "$T/many$i.log" || fail "$(cat "$T/many$i.log")"
			unset "PID[many$i]" "MNT[many$i]"
		fi
	done
	echo "round $round: in:${in:- nobody}"
	case ${in# } in
	"") ;;
	[1-4]) cmfs_stop "many${in# }" ;;
	*) fail "round $round: in together:$in" ;;
	esac
done
