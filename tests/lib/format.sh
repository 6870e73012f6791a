# shellcheck shell=bash disable=SC2034,SC2154 # PID is mount.sh's
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Images of other formats, and the qemu-nbd behind them. Sourced after mount.sh.
#
#   qemu_nbd_of VAR NAME     pid of the qemu-nbd of the daemon NAME, which has one image
#   gone PID                 wait until that process is no more
#   qemu_nbd_by SCRIPT       from here on, cmfs finds a qemu-nbd that runs SCRIPT (sh; its
#                            arguments are those of qemu-nbd) before it is the real one
#   encrypted_image FORMAT FILE   an image of 8 MiB: luks, or qcow2 with luks inside; its
#                            passphrase is in $T/key

for tool in qemu-img qemu-nbd; do
	which "$tool" >/dev/null || skip "$tool is not there"
done

qemu_nbd_of() {
	local -n ret_pid=$1
	ret_pid=$(pgrep -P "${PID[$2]}" -x qemu-nbd) || fail "$2 has no qemu-nbd"
}

gone() {
	local i
	for ((i = 0; i < 600; i++)); do
		grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$1/status" || return 0
		sleep 0.05
	done
	fail "process $1 does not end"
}

qemu_nbd_by() {
	local real
	real=$(PATH=${PATH#"$T/bin:"} which qemu-nbd)
	mkdir -p "$T/bin"
	printf '#!/bin/sh\n%s\nexec "%s" "$@"\n' "$1" "$real" >"$T/bin/qemu-nbd"
	chmod 755 "$T/bin/qemu-nbd"
	PATH=$T/bin:${PATH#"$T/bin:"}
}

# qemu-img measures how long the passphrase's hashing takes, and fails where its clock is
# too coarse for that; opening the image takes as long each time.
encrypted_image() {
	local ms options
	printf secret >"$T/key"
	for ms in 100 100 100 200 200 500 500 2000; do
		options=key-secret=key,iter-time=$ms
		[ "$1" = luks ] || options=encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=$ms
		! qemu-img create -q --object "secret,id=key,file=$T/key" -f "$1" -o "$options" \
			"$2" 8M 2>"$T/encrypted.log" || return 0
	done
	fail "qemu-img create: $(cat "$T/encrypted.log")"
}
