#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A file system inside a raw image: mount the image with cmfs, make a loop device
# of the mounted file, and mount that. What the inner file system flushes becomes
# a flush of the image, held to the image's cache mode. Needs root.
#
# usage: examples/loop-mount.sh [-h] [MODE]      (default: none)
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
need losetup mkfs.ext4 e2fsck setfattr getfattr
work_folder

say "A raw image, mounted in cache=$mode, as a block device."
run truncate -s 64M disk.raw
mkdir mnt inner
defer wait_gone "$PWD/cmfs.pid"
defer unmount "$PWD/mnt"
run cmfs -o cache="$mode" -P cmfs.pid disk.raw mnt
loop=$(losetup --show -f mnt/disk.raw)
defer detach "$loop"
echo "\$ losetup --show -f mnt/disk.raw"
echo "$loop"

say "A file system on it, with files."
run mkfs.ext4 -q "$loop"
defer unmount "$PWD/inner"
run mount "$loop" inner
run cp "$SOURCE/examples/lib.sh" inner/
run sync inner/lib.sh
run sha256sum "$SOURCE/examples/lib.sh" inner/lib.sh

say "The mode can change below a mounted file system."
to=$([ "$mode" = directsync ] && echo none || echo directsync)
run setfattr -n user.cmfs.cache -v "$to" mnt/disk.raw
run cp inner/lib.sh inner/copy
run cmp "$SOURCE/examples/lib.sh" inner/copy

say "Unmount in the opposite order, and check the host file."
run umount inner
run detach "$loop"
run umount mnt
run wait_gone cmfs.pid
done_with 4
run e2fsck -fn disk.raw
