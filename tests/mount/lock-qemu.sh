#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One writer (P8), with QEMU's own programs: what qemu-img, qemu-io, qemu-nbd and a guest
# that is started may do beside a cmfs that writes or reads, and what cmfs may do beside
# them. The guest is a SPARC one, as that is the smallest emulator; QEMU's block layer is
# the same in all of them. It is never booted.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/lock.sh
. "$LIB/lock.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
for program in qemu-img qemu-io qemu-nbd qemu-system-sparc; do
	command -v $program >"$T/program" || skip "no $program"
done
mkdir "$T/mnt"
truncate -s 1M "$T/raw"
qemu-img create -q -f qcow2 "$T/qcow2" 1M
truncate -s 1M "$T/disk"
device=""
loop_attach device "$T/disk"

guest() { # DRIVE-OPTIONS: a machine with that disk, stopped before its first instruction
	qemu-system-sparc -nodefaults -vga none -display none -S -daemonize \
		-pidfile "$T/guest.pid" -drive "format=raw,file=$T/raw,$1" "${@:2}"
}

guest_with() { # ...: does it start? Then it is ended.
	guest "$@" || return
	end_process "$(cat "$T/guest.pid")"
}

# Of nobody's child. Again and again, as qemu-nbd forgets a SIGTERM that comes before its
# main loop.
end_process() { # PID
	while [ -e "/proc/$1" ] && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"; do
		kill -TERM "$1" 2>/dev/null || true
		sleep 0.02
	done
}

nbd() { # ARG...: does a server start? Then it is ended.
	qemu-nbd --fork --pid-file="$T/nbd.pid" -t -k "$T/nbd.sock" "$@" || return
	end_process "$(cat "$T/nbd.pid")"
}

# ---- QEMU beside cmfs ----

# row BESIDE-WRITER BESIDE-READER COMMAND...: yes, or no
rows=()
row() {
	rows+=("$*")
}

row yes yes qemu-img info -f raw "$T/raw"
row yes yes qemu-img info "$T/raw"
row yes yes qemu-img map -f raw "$T/raw"
row yes yes qemu-img compare -f raw -F raw "$T/raw" "$T/raw"
row no yes qemu-img convert -f raw -O raw "$T/raw" "$T/out"
row yes yes qemu-img convert -U -f raw -O raw "$T/raw" "$T/out"
row no no qemu-img resize -f raw "$T/raw" 1M
row no no qemu-img create -f raw "$T/raw" 1M
row no yes qemu-img info "$T/qcow2"
row yes yes qemu-img info -U "$T/qcow2"
row no yes qemu-img check "$T/qcow2"
row yes yes qemu-img check -U "$T/qcow2"
row no yes qemu-img snapshot -l "$T/qcow2"
row no no qemu-img resize "$T/qcow2" 1M
row no no qemu-io -f raw -c 'quit' "$T/raw"
row yes yes qemu-io -r -f raw -c 'quit' "$T/raw"
row yes yes qemu-io -r -U -f raw -c 'quit' "$T/raw"
row no no qemu-io -f qcow2 -c 'quit' "$T/qcow2"
row no yes qemu-io -r -f qcow2 -c 'quit' "$T/qcow2"
row yes yes qemu-io -r -U -f qcow2 -c 'quit' "$T/qcow2"
row no no qemu-io -f raw -c 'quit' "$device"
row yes yes qemu-io -r -f raw -c 'quit' "$device"
row no yes qemu-img convert -f raw -O raw "$device" "$T/out"
row no no nbd -f raw "$T/raw"
row no yes nbd -r -f raw "$T/raw"
row no no nbd -f qcow2 "$T/qcow2"
row no no guest_with if=scsi
row no yes guest_with if=scsi,readonly=on
row no no guest_with if=none,id=d -device scsi-hd,drive=d,share-rw=on
row yes yes guest_with if=none,file.locking=off

# try WANTED WHEN COMMAND...
try() {
	local wanted=$1 when=$2 got=yes
	shift 2
	"$@" >"$T/tool.log" 2>&1 || got=no
	expect "$wanted" "$got" "$when: $*: $(cat "$T/tool.log")"
	[ "$got" = yes ] || grep -q "Failed to get.* lock" "$T/tool.log" ||
		fail "$when: $*: refused for another reason: $(cat "$T/tool.log")"
}

images=("$T/raw" "$T/qcow2" "$device")
checks=0
for how in locking=off rw ro; do
	cmfs_start c -o "$how" "${images[@]}" "$T/mnt"
	for row in "${rows[@]}"; do
		read -r writer reader command <<<"$row"
		read -ra words <<<"$command"
		case $how in
		rw) wanted=$writer ;;
		ro) wanted=$reader ;;
		*) wanted=yes ;;
		esac
		try "$wanted" "beside cmfs -o $how" "${words[@]}"
		checks=$((checks + 1))
	done
	cmfs_stop c
done
echo "$checks attempts of QEMU's"

# ---- cmfs beside QEMU ----

# A process that has the image open until it is told to end: its first line has come.
start_qemu-io() {
	coproc IO { exec qemu-io "$@" 2>&1; }
	# shellcheck disable=SC2153 # the shell sets it
	io_pid=$IO_PID
	read -r -d '>' <&"${IO[0]}" || fail "qemu-io $*: does not start"
}

end_qemu-io() {
	echo quit >&"${IO[1]}"
	wait "$io_pid"
}

start_nbd() {
	qemu-nbd --fork --pid-file="$T/nbd.pid" -t -k "$T/nbd.sock" "$@"
	PID["nbd"]=$(cat "$T/nbd.pid")
	: >"$T/nbd.log"
}

end_nbd() {
	end_process "${PID["nbd"]}"
	unset "PID[nbd]"
}

start_guest() {
	guest "$@" 2>"$T/guest.log"
	PID["guest"]=$(cat "$T/guest.pid")
}

end_guest() {
	end_process "${PID["guest"]}"
	unset "PID[guest]"
}

# attempt IMAGE OPTION WHAT-IT-SAYS: "" if it is mounted
attempt() {
	if [ -n "$3" ]; then
		refused "$(basename "$1"): is in use: another process $3 (a running QEMU" \
			-o "$2" "$1" "$T/mnt"
	else
		cmfs_start c -o "$2" "$1" "$T/mnt"
		cmfs_stop c
	fi
	checks=$((checks + 1))
}

# beside IMAGE WRITER READER KIND ARG...: a cmfs that writes, one that reads
beside() {
	local image=$1 writer=$2 reader=$3 kind=$4 held
	shift 4
	"start_$kind" "$@"
	held=$(locks "$image")
	attempt "$image" rw "$writer"
	attempt "$image" ro "$reader"
	attempt "$image" locking=off ""
	expect "$held" "$(locks "$image")" "$kind $*: its locks"
	"end_$kind"
	echo "$kind $*: $held"
	attempt "$image" rw ""
}

writes='holds the "write" lock on it'
keeps='lets nobody else have the "write" lock on it'
fixed='lets nobody else have the "resize" lock on it'
checks=0
beside "$T/raw" "$writes" "$writes" qemu-io -f raw "$T/raw"
beside "$T/raw" "" "" qemu-io -r -f raw "$T/raw"
beside "$device" "$writes" "$writes" qemu-io -f raw "$device"
beside "$device" "" "" qemu-io -r -f raw "$device"
beside "$T/qcow2" "$writes" "$writes" qemu-io -f qcow2 "$T/qcow2"
beside "$T/qcow2" "$keeps" "" qemu-io -r -f qcow2 "$T/qcow2"
beside "$T/qcow2" "" "" qemu-io -r -U -f qcow2 "$T/qcow2"
beside "$T/raw" "$writes" "$writes" nbd -f raw "$T/raw"
beside "$T/raw" "$fixed" "" nbd -r -f raw "$T/raw"
beside "$T/raw" "$writes" "$writes" guest if=scsi
beside "$T/raw" "$keeps" "" guest if=scsi,readonly=on
beside "$T/raw" "$writes" "$writes" guest if=none,id=d -device scsi-hd,drive=d,share-rw=on
echo "$checks attempts of cmfs's"

# QEMU on the file in the mount is QEMU on another file.
cmfs_start c "$T/raw" "$T/mnt"
try yes "in the mount" qemu-io -f raw -c 'write 0 4k' "$T/mnt/raw"
start_qemu-io -f raw "$T/mnt/raw"
try no "in the mount, beside QEMU there" qemu-img convert -f raw -O raw "$T/mnt/raw" "$T/out"
end_qemu-io
cmfs_stop c
