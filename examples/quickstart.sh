#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The main job of cmfs on a real image: build it, mount a qcow2 image and a raw
# one in cache=directsync, write and read them with everyday tools, switch the
# mode while they are mounted, unmount, and check what is in the images.
# Every command is printed before it runs. Needs root once, to install packages.
#
# usage: examples/quickstart.sh [-h]
#   CMFS=PATH    use this cmfs and build nothing
#   TMPDIR=PATH  where to work (default: /var/tmp); must support O_DIRECT
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

case "${1:-}" in
'') ;;
-h | --help) usage 0 ;;
*) usage 2 >&2 ;;
esac

build() {
	cd "$SOURCE"
	run tools/setup.sh build
	if [ ! -f build/build.ninja ]; then
		mkdir -p build
		run meson setup build >build/setup.log || { cat build/setup.log && return 1; }
	fi
	run ninja -C build
}

if [ -z "${CMFS:-}" ]; then
	say "Packages and libfuse's source, then the program."
	build
fi
find_cmfs
need qemu-img qemu-io mkfs.ext4 e2fsck debugfs setfattr getfattr fincore
work_folder

say "A qcow2 image with an ext4 file system in its first 64 MiB, and a raw image."
mkdir files mnt
echo "hello from inside the image" >files/hello.txt
run mkfs.ext4 -q -d files disk.raw 64M
run truncate -s 80M disk.raw
run qemu-img convert -O qcow2 disk.raw disk.qcow2
rm disk.raw
run truncate -s 8M data.raw

say "Mount both. In directsync each write is durable before it returns."
defer wait_gone "$PWD/cmfs.pid"
defer unmount "$PWD/mnt"
run cmfs -o cache=directsync -P cmfs.pid disk.qcow2 data.raw mnt
run ls -l mnt
run getfattr --only-values -n user.cmfs.cache mnt/disk.qcow2
echo

say "Not a claim but a fact: the flags of the daemon's descriptors. (fdflags, in" \
	"examples/lib.sh, reads /proc/PID/fdinfo. The descriptor without O_DIRECT is for" \
	"a last block that the end of the file cuts.)"
run fdflags "$(cat cmfs.pid)" disk.qcow2 | tee flags.before

say "QEMU's tools on the qcow2: look, write behind the file system, read back."
run qemu-img info mnt/disk.qcow2
run qemu-io -c 'write -P 0x5a 64M 1M' mnt/disk.qcow2
run qemu-io -c 'read -P 0x5a 64M 1M' mnt/disk.qcow2
run qemu-img check mnt/disk.qcow2

say "Shell tools on the raw image. directsync leaves nothing of it in the host's page" \
	"cache: see RES."
run dd if=/dev/urandom of=mnt/data.raw bs=7000 count=300 conv=notrunc status=none
run sha256sum mnt/data.raw
run fincore -o RES,SIZE,FILE data.raw

say "Switch the mode of the raw image while it is mounted; the qcow2's stays."
run setfattr -n user.cmfs.cache -v writeback mnt/data.raw
run getfattr -n user.cmfs.cache mnt/data.raw mnt/disk.qcow2
run fdflags "$(cat cmfs.pid)" data.raw
run fdflags "$(cat cmfs.pid)" disk.qcow2

say "In writeback a write is durable only after a flush (here conv=fsync), and the host" \
	"caches it."
run dd if=/dev/urandom of=mnt/data.raw bs=7000 count=300 conv=notrunc,fsync status=none
run sha256sum mnt/data.raw | tee sum.mounted
run fincore -o RES,SIZE,FILE data.raw

say "And the qcow2 to none: no host cache, but a flush is needed. What changed:"
run setfattr -n user.cmfs.cache -v none mnt/disk.qcow2
fdflags "$(cat cmfs.pid)" disk.qcow2 >flags.after
if run diff flags.before flags.after; then
	exit 1
fi
run qemu-io -c 'write -P 0xa5 65M 1M' -c flush mnt/disk.qcow2

say "Unmount. The daemon flushes, then removes its pid file: wait for that."
run umount mnt
run timeout 60 sh -c 'while [ -e cmfs.pid ]; do sleep 0.1; done'
done_with 2

say "The images without cmfs: the raw one has the same bytes,"
run sha256sum data.raw | tee sum.host
[ "$(cut -d ' ' -f 1 sum.mounted)" = "$(cut -d ' ' -f 1 sum.host)" ]
say "the qcow2 is sound, both patterns are in it,"
run qemu-img check disk.qcow2
run qemu-io -r -c 'read -P 0x5a 64M 1M' -c 'read -P 0xa5 65M 1M' disk.qcow2
say "and so is the file system inside."
run qemu-img convert -O raw disk.qcow2 disk.raw
run e2fsck -fn disk.raw
run debugfs -R 'cat /hello.txt' disk.raw | tee hello
cmp -s hello files/hello.txt

say "Shown: cache=directsync with its real open flags, reads and writes by QEMU's and" \
	"shell tools, two live switches, a clean end, and sound images. See cmfs(1)."
