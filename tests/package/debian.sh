#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The Debian package: built from a copy of the source by dpkg-buildpackage, its files are
# where they belong; installed by dpkg (over a copy of the system that only this test
# sees) it mounts, completes, has its pages and working examples; removed it leaves
# nothing. Its version and its build dependencies are the source's.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"
TOP=$(realpath "$LIB/../..")

[ "$(id -u)" = 0 ] || skip "needs root, to install it"
type -P dpkg-buildpackage dh >/dev/null || skip "dpkg-dev or debhelper is not there"

mkdir "$T/source"
tar -C "$TOP" -c --exclude='./build*' --exclude=./obj-* --exclude=./.git . | tar -C "$T/source" -x
cd "$T/source"
expect "$(sed -n "s/^  version: '\([0-9.]*\)',/\1/p" meson.build)" \
	"$(dpkg-parsechangelog -S Version)" "version of the package"
for library in $(sed -n 's/^build_packages=(\(.*\))/\1/p' tools/setup.sh | xargs -n 1 | grep '^lib.*-dev$'); do
	case $library in libc6-dev) continue ;; esac
	grep -q "^ $library\b" debian/control || fail "debian/control: does not build-depend on $library"
done
DEB_BUILD_OPTIONS="parallel=$(nproc)" dpkg-buildpackage -b -us -uc >"$T/build.log" 2>&1 ||
	{ tail -n 60 "$T/build.log" && fail "dpkg-buildpackage"; }
deb=$(echo "$T"/cmfs_*.deb)
if type -P lintian >/dev/null; then
	lintian --allow-root --fail-on error "$T"/cmfs_*.changes >"$T/out" 2>&1 || { cat "$T/out" && fail "lintian"; }
fi

dpkg -c "$deb" | awk '{ print substr($1, 1, 4), $6 }' | sed 's, \./, /,' >"$T/contents"
for file in "-rwx /usr/bin/cmfs" "lrwx /usr/sbin/mount.cmfs" "lrwx /usr/sbin/mount.fuse.cmfs" \
	"lrwx /usr/sbin/umount.fuse.cmfs" "-rw- /usr/lib/systemd/system/cmfs@.service" \
	"-rw- /usr/share/bash-completion/completions/cmfs" "-rw- /usr/share/man/man1/cmfs.1.gz" \
	"-rw- /usr/share/man/man7/cmfs-cache.7.gz" "-rw- /usr/share/man/man8/mount.cmfs.8.gz" \
	"lrwx /usr/share/man/man8/umount.fuse.cmfs.8.gz" "-rw- /usr/share/doc/cmfs/copyright" \
	"-rw- /usr/share/doc/cmfs/README.md.gz" "-rw- /usr/share/doc/cmfs/examples/fstab.example" \
	"-rwx /usr/share/doc/cmfs/examples/loop-mount.sh"; do
	grep -qx -e "$file" "$T/contents" || { cat "$T/contents" && fail "the package lacks $file"; }
done
! grep -v -e ' /usr/\(bin\|sbin\|lib/systemd/system\)/' -e ' /usr/share/\(bash-completion\|doc\|man\)/' \
	-e '/$' "$T/contents" || fail "the package has more than it should"
! grep -e '/include/' -e 'fuse3\?\.\(so\|pc\)' -e '/libfuse' "$T/contents" || fail "libfuse is installed, too"

# Into the system.
mkdir "$T/upper"
mount -t tmpfs none "$T/upper"
track_mount "$T/upper"
for folder in /usr /etc /var/lib /var/cache; do
	mkdir -p "$T/upper$folder/changed" "$T/upper$folder/work"
	mount -t overlay -o "lowerdir=$folder,upperdir=$T/upper$folder/changed,workdir=$T/upper$folder/work" \
		none $folder || skip "there is no overlayfs"
	track_mount $folder
done
DEBIAN_FRONTEND=noninteractive dpkg -i "$deb" >"$T/out" 2>&1 || { cat "$T/out" && fail "dpkg -i"; }
expect "install ok installed" "$(dpkg-query -W -f '${Status}' cmfs)" "the package's state"
expect /usr/bin/cmfs "$(env -i PATH=/usr/bin:/bin bash -c 'type -P cmfs')" "the command"
[[ $(/usr/bin/cmfs -V) == "cmfs $(dpkg-parsechangelog -S Version) "* ]] || fail "its version: $(cmfs -V)"
! systemctl is-enabled cmfs@.service 2>/dev/null | grep -qx enabled || fail "the service is enabled"

mkdir "$T/mnt"
echo hello >"$T/disk.raw"
mount -t cmfs -o cache=directsync,x-cmfs "$T/disk.raw" "$T/mnt"
pid=""
daemon_of pid "$T/mnt"
expect /usr/bin/cmfs "$(readlink "/proc/$pid/exe")" "what serves it"
expect "hello" "$(cat "$T/mnt/disk.raw")" "the image"
umount "$T/mnt"
daemon_gone "$pid"
for page in "1 cmfs" "7 cmfs-cache" "8 mount.cmfs" "8 umount.fuse.cmfs"; do
	# shellcheck disable=SC2086 # two words
	man -w $page >/dev/null || fail "no page $page"
done
if [ -e /usr/share/bash-completion/bash_completion ]; then
	bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader cmfs; complete -p cmfs' |
		grep -qx 'complete -F _cmfs cmfs' || fail "the completion is not found"
fi
TMPDIR=$T env -u CMFS /usr/share/doc/cmfs/examples/loop-mount.sh >"$T/out" 2>&1 ||
	{ cat "$T/out" && fail "an installed example"; }

# And out.
dpkg --purge cmfs >"$T/out" 2>&1 || { cat "$T/out" && fail "dpkg --purge"; }
awk '!/\/$/ { print $2 }' "$T/contents" | while read -r file; do
	if [ -e "$file" ] || [ -L "$file" ]; then
		fail "dpkg --purge leaves $file"
	fi
done
