# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# cmfs installed into the system, for the test alone. Needs root, in a mount namespace of
# the test's own. Sourced after mount.sh.
#
#   system_install       from now on the build is installed as `meson install` does it
#   system_fstab LINE... from now on /etc/fstab is these lines

system_install() {
	local top
	DESTDIR=$T/root meson install -C "$CMFS_BUILD" --no-rebuild --skip-subprojects \
		>"$T/install.log" 2>&1 || { cat "$T/install.log" && fail "meson install"; }
	for top in usr sbin; do # /sbin may be a folder of its own, or lie in /usr
		[ -d "$T/root/$top" ] || continue
		mount -t overlay -o "lowerdir=$T/root/$top:/$top" none "/$top" ||
			skip "there is no overlayfs"
		track_mount "/$top"
	done
}

system_fstab() {
	printf '%s\n' "$@" >"$T/fstab"
	mountpoint -q /etc/fstab || {
		mount --bind "$T/fstab" /etc/fstab
		track_mount /etc/fstab
	}
}
