#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each line of examples/fstab.example mounts as it stands, by mount -a or by its
# mountpoint, in the mode that it names; examples/mnt-image.mount is the first one's twin.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"
# shellcheck source=../lib/nbd.sh
. "$LIB/nbd.sh"
# shellcheck source=../lib/user.sh
. "$LIB/user.sh"
# shellcheck source=../lib/system.sh
. "$LIB/system.sh"
TOP=$(realpath "$LIB/../..")

[ "$(id -u)" = 0 ] || skip "mount(8) needs root"
system_install
grep -v '^#' "$TOP/examples/fstab.example" | awk NF >"$T/lines"
unit() {
	sed -n "s/^$1=//p" "$TOP/examples/mnt-image.mount"
}
expect "$(head -n 1 "$T/lines")" "$(unit What) $(unit Where) $(unit Type) $(unit Options),nofail 0 0" \
	"the first line and the unit"

# The same, below our folder; what is in /dev are links to loop devices, and the server
# of the NBD export is a nbdkit of ours.
sed -E "s,(^| )(/var/lib/images|/mnt|/home/me)/,\1$T\2/,g; s,^/dev/,$T/devices/,; s,^nbd://storage/vm ,$(nbd_uri remote) ,; s,cmfs ,cmfs passthrough=$passthrough\,," \
	"$T/lines" >"$T/here"
loop=""
while read -r source target _; do
	[ "$source" = "$target" ] || mkdir -p "$target"
	case $source in
	nbd*)
		echo "this is $source" >"$T/remote"
		truncate -s 1M "$T/remote"
		nbd_serve remote file "$T/remote"
		continue
		;;
	esac
	mkdir -p "$(dirname "$source")"
	echo "this is $source" >"$source"
	case $source in
	"$T"/devices/*)
		mv "$source" "$source.backing"
		truncate -s 1M "$source.backing"
		loop_attach loop "$source.backing"
		ln -s "$loop" "$source"
		;;
	*/vm.qcow2)
		truncate -s 1M "$source"
		qemu-img convert -f raw -O qcow2 "$source" "$source.new"
		mv "$source.new" "$source"
		;;
	esac
done <"$T/here"
mapfile -t lines <"$T/here"
system_fstab "${lines[@]}"
# findmnt takes the "socket=" of NBD for a tag, as LABEL=, and wants directories for targets.
awk '!/^nbd\+unix:/ && $1 != $2' "$T/here" >"$T/others"
findmnt --verify --tab-file "$T/others" >"$T/out" 2>&1 || { cat "$T/out" && fail "findmnt --verify"; }

# SOURCE TARGET OPTIONS: mounted as the line says? Then away with it. As the user, if given.
pid=""
check() {
	local source=$1 target=$2 options=$3 file mode
	shift 3
	mounted "$target" || fail "$target: not mounted"
	daemon_of pid "$target"
	file=$("$@" find "$target" -type f)
	expect "this is $source" "$("$@" head -n 1 "$file")" "$target"
	mode=$(sed -nE 's/(^|.*,)cache=([a-z]+)(,.*|$)/\2/p' <<<"$options")
	expect "${mode:-writeback}" "$("$@" getfattr --absolute-names --only-values -n user.cmfs.cache "$file")" \
		"$target: its mode"
	case ,$options, in
	*,ro,*) grep -q " $target fuse.cmfs ro," /proc/mounts || fail "$target: not read-only" ;;
	esac
	"$@" umount "$target"
	daemon_gone "$pid"
}

mount -a
grep ' fuse.cmfs ' /proc/mounts >"$T/once"
mount -a || fail "mount -a, once more: status $?"
expect "$(cat "$T/once")" "$(grep ' fuse.cmfs ' /proc/mounts)" "mount -a, once more"
while read -r source target _ options _; do
	case ,$options, in
	*,noauto,*) ! mounted "$target" || fail "mount -a: $target, though noauto" ;;
	*) check "$source" "$target" "$options" ;;
	esac
done <"$T/here"
while read -r source target _ options _; do
	case ,$options, in
	*,user,*) continue ;;
	esac
	mount "$target"
	check "$source" "$target" "$options"
done <"$T/here"

user_dev
chmod -R 755 "$T/home"
chown -R 65534:65534 "$T/home"
cd /
while read -r source target _ options _; do
	user mount "$target"
	check "$source" "$target" "$options" user
done < <(grep ' cmfs [^ ]*\buser\b' "$T/here")
