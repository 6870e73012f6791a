#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the daemon asks of a block device in each mode, mounted in it and switched to it:
# which descriptor, which RWF flag, which flush, and that each comes before the reply of
# its request (P1, P2, P3, P4). As promise-strace-modes.sh has it for files. Zeroes are made
# on the descriptor with the claim, which is plain in every mode.
CMFS_DETECT_LEAKS=0
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"
# shellcheck source=../lib/blkdev.sh
. "$LIB/blkdev.sh"

[ "$(id -u)" = 0 ] || skip "loop devices need root"
blkdev_make 8M
mkdir "$T/mnt"

declare -A flags=([writeback]=plain [none]=direct [writethrough]=dsync
	[directsync]="direct,dsync" [unsafe]=plain)

set_wanted() { # as in promise-strace-modes.sh
	flush=1 after="" dsync=RWF_DSYNC sync=RWF_SYNC
	f=${flags[$mode]}
	case $mode in
	writethrough | directsync) after=fdatasync:$f dsync=0 ;;
	unsafe) flush="" dsync=0 sync=0 ;;
	esac
}

words() {
	echo "$*" | xargs
}

check() { # NAME WANTED COMMAND...
	local name=$1 wanted got
	wanted=$(words "$2")
	shift 2
	ok mark 1 "$name"
	"$@"
	ok mark 1 "$name-end"
	got=$(section c "$name" "$name-end" | tee "$T/section" | events)
	printf -- '-- %s, %s: %s\n' "$what" "$name" "$got"
	expect "$wanted" "$got" "$what, $name: $(calls <"$T/section")"
}

# The kernel's FSYNC that follows a durable write on a cached handle.
follows() { # fsync|fdatasync
	case $1:$family in
	*:direct) ;;
	*) echo "${flush:+$1:$f} reply" ;;
	esac
}

checks() { # NUMBER, as marks are found by name
	check "write-$1" "pwritev2:$f:0 reply" ok write 1 0 65536 a
	check "odsync-$1" "pwritev2:$f:$dsync reply $(follows fdatasync)" ok write 2 65536 4096 b
	check "rwf-dsync-$1" "pwritev2:$f:$dsync reply $(follows fdatasync)" \
		ok write 1 65536 4096 c dsync
	check "rwf-sync-$1" "pwritev2:$f:$sync reply $(follows fsync)" ok write 1 65536 4096 d sync
	check "fsync-$1" "${flush:+fsync:$f} reply" ok fsync 1
	check "fdatasync-$1" "${flush:+fdatasync:$f} reply" ok fdatasync 1
	check "punch-$1" "fallocate:plain $after reply" ok fallocate 1 punch 131072 65536
	check "zero-$1" "fallocate:plain $after reply" ok fallocate 1 zero 131072 65536
	check "copy-$1" "pread64:$f pwritev2:$f:0 $after reply" ok copy 1 0 1 524288 65536
	want "65536 a" read 1 524288 65536
	# Refused, without a word to the device.
	check "truncate-$1" reply want EINVAL truncate 1 4096
	check "alloc-$1" reply want EOPNOTSUPP fallocate 1 alloc 0 4096
	check "past-$1" reply want ENOSPC write 1 8388608 10 z
}

n=0
start() {
	cmfs_start c -o cache="$mode" "$T/dev/img" "$T/mnt"
	fileop_start
	ok open 1 "$T/mnt/img"
	ok open 2 "$T/mnt/img" dsync
	strace_start c
}

finish() {
	fileop_stop
	umount "$T/mnt"
	cmfs_wait c
	strace_stop c
}

for mode in $modes; do
	what="cache=$mode"
	case $mode in none | directsync) family=direct ;; *) family=cached ;; esac
	set_wanted
	start
	checks $((n += 1))
	finish
	got=$(sed -n "/mark.past-$n-end/,\$p" "$T/c.strace" | cat "$T/c.fds" - |
		sed 's/^\([0-9]* openat\)/fd \1/' | events | xargs -n 1 | grep -E '^(f|fdata)?sync' || true)
	expect "${flush:+fsync:$f}" "$got" "$what, umount"
	[ "$mode" != unsafe ] || ! grep -v fgetxattr "$T/c.strace" |
		grep -E 'sync(_file_range)?\(|RWF_|SYNC\)' || fail "unsafe: a flush after all"
done

# Handles keep their family, but not their durability (P7).
mode=writeback family=cached
start
for mode in none writethrough unsafe directsync; do
	what="switched to $mode"
	set_wanted
	ok cache 1 "$mode"
	checks $((n += 1))
	expect "$mode" "$(getfattr --absolute-names --only-values -n user.cmfs.cache "$T/mnt/img")"
done
finish
blkdev_remove
