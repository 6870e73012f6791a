#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Under a running systemd of our own: lines of fstab and cmfs@.service are mounted while it
# starts, or by their first user; one that fails does not keep it from starting and says why, a killed daemon's
# service comes up again, a stop waits for the last flush and fails with it, and a
# shutdown ends every daemon by itself. All units are what systemd-analyze takes.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/daemon.sh
. "$LIB/daemon.sh"
# shellcheck source=../lib/system.sh
. "$LIB/system.sh"
# shellcheck source=../lib/systemd.sh
. "$LIB/systemd.sh"
TOP=$(realpath "$LIB/../..")

[ "$(id -u)" = 0 ] || skip "needs root"
type -P systemd-analyze >/dev/null || skip "there is no systemd"
system_install
own=passthrough=$passthrough
for name in a net auto missing vm bad; do
	mkdir "$T/$name"
	echo "image $name" >"$T/$name.img"
done
cp "$T/vm.img" "$T/second vm.img"
rm "$T/missing.img"
echo "image self" >"$T/self.img" # mounted over itself

cp "$TOP"/examples/*.mount "$T"
for unit in "$T"/*.mount "$T/root/usr/local/lib/systemd/system/cmfs@.service"; do
	systemd-analyze verify --man=no "$unit" >"$T/out" 2>&1 || { cat "$T/out" && fail "verify $unit"; }
	expect "" "$(grep -i "${unit##*/}" "$T/out" || true)" "systemd-analyze verify"
done

# A disk that a qemu-nbd serves, where there is one.
disk=""
if type -P qemu-img qemu-nbd >/dev/null; then
	qemu-img create -q -f qcow2 -o cluster_size=4k "$T/disk" 64M
	head -c 32M /dev/urandom >"$T/disk.content"
	disk="--drive file=$T/disk,format=qcow2"
fi

# /etc/cmfs, and the units to start.
mkdir -p "$T/etc" "$T/units/multi-user.target.wants"
cat >"$T/etc/vm.conf" <<END
MOUNTPOINT=$T/vm
ARGS=-P $T/vm.pid -o $own,fault=on --drive file=$T/vm.img,cache=directsync --drive "file=$T/second vm.img,name=second" $disk
END
cat >"$T/etc/bad.conf" <<END
MOUNTPOINT=$T/bad
ARGS=--drive file=$T/bad.img,cache=quick
END
ln -s /usr/local/lib/systemd/system/cmfs@.service "$T/units/multi-user.target.wants/cmfs@vm.service"
[ -d /etc/cmfs ] || { mkdir "$T/etc.upper" "$T/etc.upper/cmfs" &&
	mount -t overlay -o "lowerdir=$T/etc.upper:/etc" none /etc && track_mount /etc; }
mount --bind "$T/etc" /etc/cmfs
track_mount /etc/cmfs
system_fstab "$T/a.img $T/a cmfs $own,cache=none,pidfile=$T/a.pid,fault=on,nofail,x-systemd.mount-timeout=60 0 0" \
	"$T/net.img $T/net fuse.cmfs $own,cache=writethrough,pidfile=$T/net.pid,_netdev,nofail 0 0" \
	"$T/auto.img $T/auto cmfs $own,ro,nofail,x-systemd.automount 0 0" \
	"$T/self.img $T/self.img cmfs $own,cache=directsync,pidfile=$T/self.pid,nofail 0 0" \
	"$T/missing.img $T/missing cmfs $own,nofail 0 0"

unit_of() {
	systemd-escape -p --suffix=mount "$T/$1"
}

shown() { # UNIT PROPERTY
	control show -P "$2" "$1"
}

systemd_boot
expect degraded "$(control is-system-running || true)" "the system's state, with one line that fails"
expect active "$(control is-active multi-user.target)" "multi-user.target"
for name in a net; do
	expect active "$(control is-active "$(unit_of $name)")" "$name"
	expect "image $name" "$(inside cat "$T/$name/$name.img")" "$name"
done
expect active "$(control is-active "$(unit_of self.img)")" "self.img"
expect "directsync image self" "$(inside getfattr --absolute-names --only-values -n user.cmfs.cache "$T/self.img") \
$(inside cat "$T/self.img")" "self.img"
expect none "$(inside getfattr --absolute-names --only-values -n user.cmfs.cache "$T/a/a.img")"
[[ " $(shown "$(unit_of net)" After) " == *" network-online.target "* ]] || fail "_netdev: not after the network"
[[ " $(shown "$(unit_of net)" WantedBy) " == *" remote-fs.target "* ]] || fail "_netdev: not of remote-fs.target"
expect "failed exit-code 32" "$(shown "$(unit_of missing)" ActiveState) $(shown "$(unit_of missing)" Result) \
$(shown "$(unit_of missing)" ExecMount | sed -n 's/.*status=\([0-9]*\).*/\1/p')" "a missing image"

# Mounted by its first user.
expect inactive "$(control is-active "$(unit_of auto)" || true)" "auto, before"
expect "image auto" "$(inside cat "$T/auto/auto.img")" "auto"
expect active "$(control is-active "$(unit_of auto)")" "auto"

# The service: ready when it is mounted, up again when it was killed.
expect "active Serving" "$(shown cmfs@vm ActiveState) $(shown cmfs@vm StatusText)" "cmfs@vm"
expect "image vm" "$(inside cat "$T/vm/second")" "its second image"
expect directsync "$(inside getfattr --absolute-names --only-values -n user.cmfs.cache "$T/vm/vm.img")"
first=$(shown cmfs@vm MainPID)
[ -z "$disk" ] || inside dd if="$T/disk.content" of="$T/vm/disk" bs=1M conv=notrunc status=none
inside kill -KILL "$first"
for ((i = 0; i < 600; i++)); do
	again=$(shown cmfs@vm MainPID)
	[ "$again" = 0 ] || [ "$again" = "$first" ] || [ "$(shown cmfs@vm ActiveState)" != active ] || break
	sleep 0.05
done
expect "image vm" "$(inside cat "$T/vm/vm.img")" "after it was killed"
# What was acknowledged is there (P11): systemd let the qemu-nbd of the old one end by itself.
[ -z "$disk" ] || inside cmp -n 32M "$T/disk.content" "$T/vm/disk" || fail "lost with the daemon"

# What cannot start says why; what fails later, too, and its stop fails.
! control start cmfs@bad 2>/dev/null || fail "cmfs@bad has started"
expect "failed 2" "$(shown cmfs@bad ActiveState) $(shown cmfs@bad ExecMainStatus)" "cmfs@bad"
[[ $(shown cmfs@bad StatusText) == *cache=quick* ]] || fail "cmfs@bad: '$(shown cmfs@bad StatusText)'"
inside setfattr -n user.cmfs.fault -v write:EIO "$T/vm/vm.img"
! inside dd if=/dev/zero of="$T/vm/vm.img" count=1 conv=notrunc status=none 2>/dev/null || fail "no EIO"
[[ $(shown cmfs@vm StatusText) == "vm.img: "*"failed: Input/output error"* ]] ||
	fail "cmfs@vm: '$(shown cmfs@vm StatusText)'"
control stop cmfs@vm
expect "failed exit-code 1" "$(shown cmfs@vm ActiveState) $(shown cmfs@vm Result) $(shown cmfs@vm ExecMainStatus)" \
	"a stop whose flush fails"
[ ! -e "$T/vm.pid" ] || fail "cmfs@vm: stopped before its daemon had ended"
control start cmfs@vm
expect active "$(control is-active cmfs@vm)" "cmfs@vm, once more"

# A mount unit's stop waits for the last flush, too; what fails is told, though systemd
# calls it a success, as the mount is gone.
inside sh -c "echo more >'$T/a/a.img' && setfattr -n user.cmfs.fault -v flush:delay=300ms '$T/a/a.img'"
control stop "$(unit_of a)"
[ ! -e "$T/a.pid" ] || fail "stopped before its daemon had ended"
expect "inactive more" "$(shown "$(unit_of a)" ActiveState) $(cat "$T/a.img")" "a, stopped"
control start "$(unit_of a)"
inside sh -c "echo less >'$T/a/a.img' && setfattr -n user.cmfs.fault -v flush:EIO '$T/a/a.img'"
control stop "$(unit_of a)"
expect "inactive 32" "$(shown "$(unit_of a)" ActiveState) \
$(shown "$(unit_of a)" ExecUnmount | sed -n 's/.*status=\([0-9]*\).*/\1/p')" "a, stopped with an error"
control start "$(unit_of a)"
inside sh -c "echo own >'$T/self.img'"
control restart "$(unit_of self.img)"
expect "active own" "$(control is-active "$(unit_of self.img)") $(inside cat "$T/self.img")" "self.img, restarted"

# Down: what poweroff.target asks for, but for the end of the machine.
inside sh -c "echo down >'$T/a/a.img'; echo down >'$T/net/net.img'; echo down >'$T/vm/second';
	echo down >'$T/self.img'"
systemd_down
for name in a net vm self; do
	[ ! -e "$T/$name.pid" ] || fail "$name: still there when all is unmounted"
done
expect "down down down down" "$(cat "$T/a.img" "$T/net.img" "$T/second vm.img" "$T/self.img" | xargs)" "the images"
expect "inactive success" "$(shown cmfs@vm ActiveState) $(shown cmfs@vm Result)" "cmfs@vm, down"
