#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk in an encrypted image, by the passphrase in a file; what is missing is named.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/format.sh
. "$LIB/format.sh"

refused() { # WORDS ARGUMENT...
	local words=$1
	shift
	! "$CMFS" "$@" "$T/mnt" 2>"$T/err" || fail "$*: mounted"
	cat "$T/err"
	expect 1 "$(wc -l <"$T/err")" "$*: lines"
	grep -qF -- "$words" "$T/err" || fail "$*: does not say: $words"
}

mkdir "$T/mnt"
seq 1000000 >"$T/text"
head -c 5M "$T/text" >"$T/source"
refuse_without() { # FORMAT
	refused "key-file=FILE" --drive "file=$T/disk,format=$1"
	refused "$T/no-key" --drive "file=$T/disk,format=$1,key-file=$T/no-key"
}

is_encrypted() {
	! grep -qaF 700001 "$T/disk" || fail "$1: not encrypted"
}

# Opening one takes as long as the hashing of its passphrase was made to take: not often.
encrypted_image luks "$T/disk"
refuse_without luks
printf wrong >"$T/wrong,key"
refused "Invalid password" --drive "file=$T/disk,format=luks,key-file=$T/wrong,,key"
cmfs_start c --drive "file=$T/disk,format=luks,key-file=$T/key" "$T/mnt"
expect 8388608 "$(stat -c %s "$T/mnt/disk")" "luks: size"
dd if="$T/source" of="$T/mnt/disk" bs=1M conv=notrunc,fsync status=none
setfattr -n user.cmfs.cache -v none "$T/mnt/disk" # started anew, with the key
cmp -n 5242880 "$T/mnt/disk" "$T/source" || fail "luks: content"
cmfs_stop c
is_encrypted luks
rm "$T/disk"

encrypted_image qcow2 "$T/disk"
refuse_without qcow2
cmfs_start c --drive "file=$T/disk,format=auto,key-file=$T/key,cache=none" "$T/mnt"
dd if="$T/source" of="$T/mnt/disk" bs=1M conv=notrunc,fsync status=none
cmp -n 5242880 "$T/mnt/disk" "$T/source" || fail "qcow2: content"
cmfs_stop c
is_encrypted qcow2
rm "$T/disk"

qemu-img create -q -f vmdk "$T/disk" 1M
refused "luks, qcow2" --drive "file=$T/disk,format=vmdk,key-file=$T/key"
refused "luks, qcow2" --drive "file=$T/disk,format=auto,key-file=$T/key"
refused "luks, qcow2" --drive "file=$T/disk,key-file=$T/key"
