#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Make this machine able to build and test cmfs: Debian packages, and the source
# of libfuse >= 3.17 where the system's is older. Quick when there is nothing to
# do. Usage: tools/setup.sh [build|test|bench]   (default: test; each includes build)
set -euo pipefail
cd "$(dirname "$0")/.."

FUSE_WANTED=3.17
FUSE_SUITE=trixie # the Debian suite whose fuse3 source is used if need be

build_packages=(gcc libc6-dev pkg-config meson ninja-build fuse3 attr libnbd-dev libaio-dev
	liburing-dev)
run_packages=(qemu-utils e2fsprogs util-linux) # what the quick start uses besides
test_packages=(
	clang libclang-rt-14-dev clang-format shellcheck mandoc man-db
	libcmocka-dev fio sqlite3 strace xfsprogs btrfs-progs python3
	procps psmisc libcap2-bin nbdkit libnbd-bin qemu-system-sparc
	systemd bash-completion debhelper dpkg-dev build-essential
)

# Other FUSE exports to compare with, where they are to be had.
bench_packages=(fio python3 g++ xfsprogs gnuplot-nox nbdkit libnbd-bin bindfs qemu-system-common)

say() {
	echo "setup: $*"
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

missing_packages() {
	local p
	for p in "$@"; do
		dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed ||
			echo "$p"
	done
}

install_packages() {
	local missing
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	say "installing ${missing[*]}"
	as_root apt-get -qq update
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
		--no-install-recommends "${missing[@]}" >/dev/null
}

# The machine's own Debian mirror: "URI keyring" of its main archive.
mirror() {
	# shellcheck disable=SC2016 # apt-get expands these, not the shell
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)|$(SIGNED_BY)' \
		'Identifier: Packages' | awk -F'|' '
		$1 == "Debian" && $2 == "Debian" { print $3, $4; exit }'
}

# Unpack the source package of another suite, with apt's lists in a folder of our
# own, so that the machine's stay as they are. apt checks the signatures.
fetch_fuse_source() {
	local uri keyring dir options
	read -r uri keyring < <(mirror) || true
	if [ -z "${uri:-}" ]; then
		as_root apt-get -qq update
		read -r uri keyring < <(mirror)
	fi
	case "${keyring:-}" in /*) ;; *) keyring=/usr/share/keyrings/debian-archive-keyring.gpg ;; esac

	dir=$(mktemp -d)
	chmod 755 "$dir"
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/source"
	echo "deb-src [signed-by=$keyring] $uri $FUSE_SUITE main" >"$dir/sources.list"
	options=(
		-o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir/cache"
		-o APT::Sandbox::User=root
	)
	apt-get -qq "${options[@]}" update
	(cd "$dir/source" && apt-get -qq "${options[@]}" source --only-source fuse3 >/dev/null)
	mkdir -p subprojects
	rm -rf subprojects/fuse3
	mv "$dir"/source/fuse3-*/ subprojects/fuse3
	rm -rf "$dir"
}

need_fuse_source() {
	! pkg-config --atleast-version="$FUSE_WANTED" fuse3 2>/dev/null &&
		[ ! -f subprojects/fuse3/meson.build ]
}

case "${1:-test}" in
build) install_packages "${build_packages[@]}" "${run_packages[@]}" ;;
test) install_packages "${build_packages[@]}" "${run_packages[@]}" "${test_packages[@]}" ;;
bench) install_packages "${build_packages[@]}" "${bench_packages[@]}" ;;
*)
	echo "usage: tools/setup.sh [build|test|bench]" >&2
	exit 2
	;;
esac
# Every installed system has it; a bare debootstrap does not, and fusermount3 looks there.
[ -e /etc/mtab ] || as_root ln -s ../proc/self/mounts /etc/mtab
if need_fuse_source; then
	install_packages dpkg-dev
	say "getting the source of libfuse (Debian $FUSE_SUITE)"
	fetch_fuse_source
fi
