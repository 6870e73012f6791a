#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A write log of an ext4 in a loop device on the image, in every mode and over switches
# of the mode: replayed to each flush it is a file system that its journal repairs, with
# each file that was synced before in it; replayed to its end it is the image. Whether
# discards zero or not makes no difference.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
mkdir "$T/mnt" "$T/inner" "$T/files"
replay=$(helper replay_log)
for i in 1 2 3 4 5 6; do
	head -c $((i * 33333)) /dev/urandom >"$T/files/$i"
done

next_mode() { # in "switch" runs
	[ "$1" != switch ] || setfattr -n user.cmfs.cache -v "$2" "$T/mnt/img"
}

put() { # NUMBER: a file, synced, and a mark behind it
	cp "$T/files/$1" "$T/inner/f$1"
	sync "$T/inner/f$1"
	setfattr -n user.cmfs.mark -v "file $1" "$T/mnt/img"
}

workload() { # HOW
	mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 -J size=4 "$dev"
	sync "$dev"
	setfattr -n user.cmfs.mark -v mkfs "$T/mnt/img"
	mount "$dev" "$T/inner"
	track_mount "$T/inner"
	put 1
	next_mode "$1" none
	put 2
	mkdir "$T/inner/dir"
	head -c 3M /dev/urandom >"$T/inner/dir/gone"
	dd if="$T/files/6" of="$T/inner/direct" bs=1k oflag=direct count=190 status=none
	next_mode "$1" writethrough
	put 3
	sync -f "$T/inner" # or there would be nothing to trim
	rm "$T/inner/dir/gone"
	fallocate -l 3M "$T/inner/allocated"
	fallocate -p -o 4096 -l 1M "$T/inner/allocated"
	dd if="$T/files/5" of="$T/inner/dsync" bs=7777 oflag=dsync status=none
	next_mode "$1" directsync
	sync -f "$T/inner"
	rm "$T/inner/allocated"
	put 4
	fstrim "$T/inner"
	put 5
	next_mode "$1" writeback
	truncate -s 10000 "$T/inner/direct"
	put 6
	umount "$T/inner"
	TRACKED_MOUNTS=()
	setfattr -n user.cmfs.mark -v "done" "$T/mnt/img"
}

# Runs after each flush of a replay: the state is in $T/target, its entry in $ENTRY.
cat >"$T/check" <<'EOF2'
#!/usr/bin/env bash
set -euo pipefail
cd "$T"
made=$(awk '$2 == "mark" && $5 == "mkfs" { print $1 }' list)
[ "$ENTRY" -gt "$made" ] || exit 0
cp --sparse=always target copy
# -p: what a journal and the list of orphans can repair, and nothing else.
e2fsck -fp copy >fsck.log 2>&1 || [ $? = 1 ] || { cat fsck.log >&2 && exit 1; }
e2fsck -fn copy >fsck.log 2>&1 || { cat fsck.log >&2 && exit 1; }
# The flush that made a file durable is the last one before its mark.
awk -v entry="$ENTRY" '
	$2 == "flush" { flush = $1 }
	$2 == "mark" && $5 == "file" && flush <= entry { print $6 }' list |
	while read -r i; do
		debugfs -R "dump /f$i dumped" copy 2>/dev/null
		cmp "files/$i" dumped || { echo "file $i" >&2 && exit 1; }
	done
echo "$ENTRY" >>checked
EOF2
chmod 755 "$T/check"
export T

for how in $modes switch; do
	mode=$how
	[ "$how" != switch ] || mode=writeback
	rm -f "$T/img" "$T/log" "$T/target" "$T/checked"
	truncate -s 24M "$T/img" "$T/target"
	cmfs_start c -o "cache=$mode,log-writes=$T/log" "$T/img" "$T/mnt"
	expect "daemon: log-writes" "$(getfattr --absolute-names --only-values \
		-n user.cmfs.datapath "$T/mnt/img" | sed 's/passthrough=off/log-writes/')"
	dev=""
	loop_attach dev "$T/mnt/img"
	workload "$how"
	loop_detach "$dev"
	cmfs_stop c

	"$replay" list "$T/log" >"$T/list"
	for mark in mkfs "file 1" "file 6" "done" dm-log-writes-end; do
		grep -q " mark 0 0 $mark\$" "$T/list" || fail "$how: no mark '$mark'"
	done
	grep -q ' discard ' "$T/list" || fail "$how: the log has no discards"
	"$replay" each "$T/log" "$T/target" "$T/check" || fail "$how: a state is not right"
	cmp "$T/target" "$T/img" || fail "$how: the last state is not the image"
	truncate -s 0 "$T/target"
	truncate -s 24M "$T/target"
	"$replay" -z replay "$T/log" "$T/target"
	cmp "$T/target" "$T/img" || fail "$how: with discards that zero"
	touch "$T/checked"
	fua=$(grep -c ' fua ' "$T/list" || true)
	echo "$how: $(wc -l <"$T/list") entries, $fua with FUA," \
		"$(grep -c ' flush ' "$T/list") flushes, $(wc -l <"$T/checked") of them checked"
	case $how in
	writethrough | directsync) [ "$fua" -ge 100 ] || fail "$how: writes with FUA: $fua" ;;
	switch) [ "$fua" -ge 10 ] || fail "$how: writes with FUA: $fua" ;;
	*) expect 0 "$fua" "$how: writes with FUA" ;; # a loop device flushes instead
	esac
	case $how in
	unsafe) ! grep ' flush ' "$T/list" || fail "unsafe: a flush" ;;
	*) [ "$(wc -l <"$T/checked")" -ge 10 ] || fail "$how: too few flushes to tell" ;;
	esac
done
