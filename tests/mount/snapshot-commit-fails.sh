#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A commit that cannot be: the caller gets the error, the mount shows what it showed, and
# the log says what is with the image: unchanged if it could not be opened for writing
# (a host file system that is read-only, no permission), perhaps half written if its
# file system was full. Committing again, with the obstacle gone, completes it.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"
# shellcheck source=../lib/user.sh
. "$LIB/user.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
img=$T/mnt/img
mkdir "$T/mnt" "$T/tmp"
chmod 777 "$T/tmp"
export TMPDIR=$T/tmp

refused() { # WHY COMMAND...
	local message why=$1
	shift
	message=$(LC_ALL=C "$@" setfattr -n user.cmfs.commit -v now "$img" 2>&1) &&
		fail "a commit is not refused: $why"
	case $message in *"$why"*) ;; *) fail "a commit: wanted '$why', got: $message" ;; esac
}

status() {
	getfattr --absolute-names --only-values -n user.cmfs.commit "$img"
}

# ---- no space ----
hostfs_make host ext4
head -c 8M /dev/urandom >"$T/old"
head -c 30M /dev/urandom >"$T/new"
cp "$T/old" "$T/host/img"
truncate -s 40M "$T/host/img"
cp --sparse=always "$T/host/img" "$T/old"
sync -f "$T/host"
fallocate -l $(($(stat -f -c '%f * %S' "$T/host") - 10000000)) "$T/host/filler"
sync -f "$T/host"

for mode in none unsafe; do
	cmfs_start c -o "snapshot=on,cache=$mode" "$T/host/img" "$T/mnt"
	dd if="$T/new" of="$img" bs=1M seek=4 conv=notrunc status=none
	before=$(status)
	refused "No space left on device" env
	grep -q "img: user.cmfs.commit not changed: No space left on device: it may be half written" \
		"$T/c.log" || fail "$mode: the log does not say what is with the image"
	expect "$before" "$(status)" "$mode: what is not committed"
	cp "$T/old" "$T/wanted"
	dd if="$T/new" of="$T/wanted" bs=1M seek=4 conv=notrunc status=none
	cmp "$T/wanted" "$img" || fail "$mode: the mount after a failed commit"
	printf y | dd of="$img" conv=notrunc status=none # goes on
	printf y | dd of="$T/wanted" conv=notrunc status=none
	cmfs_stop c # not by P5: nothing that was acknowledged is lost

	# Put right, for the next mode.
	cp "$T/host/img" "$T/half"
	cmp -s "$T/half" "$T/wanted" && fail "$mode: all of it fitted"
	fallocate -p -o 0 -l 40M "$T/host/img"
	dd if="$T/old" of="$T/host/img" bs=1M conv=notrunc,sparse status=none
	sync -f "$T/host"
done

cmfs_start c -o snapshot=on "$T/host/img" "$T/mnt"
dd if="$T/new" of="$img" bs=1M seek=4 conv=notrunc status=none
refused "No space left on device" env
rm "$T/host/filler"
setfattr -n user.cmfs.commit -v now "$img"
expect uncommitted=0 "$(status)" "what is not committed, in the end"
cmfs_stop c
dd if="$T/old" of="$T/wanted" bs=1 count=1 conv=notrunc status=none
cmp "$T/wanted" "$T/host/img" || fail "the image after the second commit"

# ---- read-only ----
sum=$(sha256sum <"$T/host/img")
mount -o remount,ro "$T/host"
cmfs_start c -o snapshot=on "$T/host/img" "$T/mnt"
printf z | dd of="$img" conv=notrunc status=none
refused "Read-only file system" env
grep -q "img: user.cmfs.commit not changed: the image cannot be opened for writing: Read-only" \
	"$T/c.log" || fail "the log does not say that the image is unchanged"
expect uncommitted=4096 "$(status)" "what is not committed"
expect z "$(head -c 1 "$img")" "the mount"
mount -o remount,rw "$T/host"
expect "$sum" "$(sha256sum <"$T/host/img")" "the image"
cmfs_stop c

# ---- somebody else's image ----
cp "$T/old" "$T/img"
chmod 444 "$T/img"
mkdir -p "$T/mine"
chown 65534:65534 "$T/mine"
mv "$T/img" "$T/mine/img"
user_dev
# LeakSanitizer needs more than a user has.
export ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0:log_path=$T/tmp/sanitizer"
img=$T/mine/mnt/img
user mkdir "$T/mine/mnt"
user "$CMFS" -o snapshot=on "$T/mine/img" "$T/mine/mnt" 2>"$T/user.err" ||
	fail "a user's snapshot: $(cat "$T/user.err")"
track_mount "$T/mine/mnt"
expect 65534 "$(user stat -c %u "$img")" "whose overlay it is"
printf u | user dd of="$img" conv=notrunc status=none
refused "Permission denied" user
expect u "$(user head -c 1 "$img")" "the mount"
cmp "$T/old" "$T/mine/img" || fail "somebody else's image was changed"
chmod 666 "$T/mine/img"
user setfattr -n user.cmfs.commit -v now "$img" || fail "a commit of what may be written"
expect u "$(head -c 1 "$T/mine/img")" "the image that may be written"
user fusermount3 -u "$T/mine/mnt"
cd /
