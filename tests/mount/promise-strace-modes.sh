#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the daemon asks of the host in each mode for one operation at a time: which
# descriptor, which RWF flag, which flush, and that each comes before the reply of
# its request (P1, P2, P3, P4). An aligned write is exactly one pwritev2, or nothing at
# all where the kernel serves the handle: promise-device-flushes.sh counts what those
# flush. Everything else comes to the daemon from such handles, too.
CMFS_DETECT_LEAKS=0
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

# What a mode's row in PROMISES' table comes to.
#   $f      flags of the descriptor
#   $flush  "": a flush request does nothing
#   $after  the flush after a change that is no write, "" if none is owed
#   $dsync $sync  what O_DSYNC and O_SYNC add to a write
#   $family       cached: handles that are not direct; passthrough: the kernel serves
#                 some, and mappings; direct: neither
set_wanted() { # MODE FLAGS-OF-THE-FIRST-HANDLE
	flush=1 after="" dsync=RWF_DSYNC sync=RWF_SYNC family=cached
	f=${flags[$1]}
	case $1 in
	writeback) ;;
	none) family=direct ;;
	writethrough) after=fdatasync:$f dsync=0 ;;
	directsync) after=fdatasync:$f dsync=0 family=direct ;;
	unsafe) flush="" dsync=0 sync=0 ;;
	esac
	served_by_kernel writeback || return 0 # there is no passthrough at all
	case $1 in # where not every handle may be with passthrough, the first one decides
	none | writethrough | directsync) served_by_kernel "$1" "$2" || return 0 ;;
	esac
	family=passthrough
}

# wanted_write HANDLE ADDED: the write, and the FSYNC request that the kernel sends
# after a durable one on cached handles only.
wanted_write() {
	local fsync=${flush:+fdatasync:$f} h=$1
	if [ $family = passthrough ] && served_by_kernel "$mode" "${how[h - 1]}"; then
		return
	fi
	echo "pwritev2:$f:$2 reply"
	[ $family = cached ] || return 0
	case $3 in
	sync) echo "${flush:+fsync:$f} reply" ;;
	dsync) echo "$fsync reply" ;;
	esac
}

words() { # normalise spaces: empty parts of a wanted line leave some
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
	printf -- '-- %s, %s: %s\n' "$mode" "$name" "$got"
	calls <"$T/section"
	expect "$wanted" "$got" "$mode, $name"
}

declare -A flags=([writeback]=plain [none]=direct [writethrough]=dsync
	[directsync]="direct,dsync" [unsafe]=plain)
how=("" dsync sync direct "direct dsync") # handles 1 to 5
run() { # HANDLE... in the order of their opening
	set_wanted "$mode" "${how[$1 - 1]}"
	fallocate -l 1M "$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	fileop_start
	for h in "$@"; do
		# shellcheck disable=SC2086 # words
		ok open "$h" "$T/mnt/img" ${how[h - 1]}
	done
	ok mmap 1 0 65536
	ok peek 1 0 65536
	strace_start c

	check write "$(wanted_write 1 0)" ok write 1 0 4096 a
	check O_DSYNC "$(wanted_write 2 $dsync dsync)" ok write 2 4096 4096 b
	check O_SYNC "$(wanted_write 3 $sync sync)" ok write 3 8192 4096 c
	check O_DIRECT "$(wanted_write 4 0)" ok write 4 16384 4096 c
	check O_DIRECT-O_DSYNC "$(wanted_write 5 $dsync dsync)" ok write 5 20480 4096 c
	check RWF_DSYNC "$(wanted_write 1 $dsync dsync)" ok write 1 12288 4096 d dsync
	check RWF_SYNC "$(wanted_write 1 $sync sync)" ok write 1 12288 4096 e sync
	check O_DIRECT-RWF_DSYNC "$(wanted_write 4 $dsync dsync)" ok write 4 12288 4096 f dsync
	check fsync "${flush:+fsync:$f} reply" ok fsync 1
	check fdatasync "${flush:+fdatasync:$f} reply" ok fdatasync 1
	check truncate "ftruncate:$f $after reply" ok truncate 1 2097152
	check fallocate "fallocate:$f $after reply" ok fallocate 1 alloc 2097152 4096
	check punch "fallocate:$f $after reply" ok fallocate 1 punch 131072 4096
	check zero "fallocate:$f $after reply" ok fallocate 1 zero 139264 4096
	case $mode in
	none | directsync | writethrough) copy="pread64:$f pwritev2:$f:0" ;;
	*) copy=copy_file_range:$f ;;
	esac
	check copy_file_range "$copy $after reply" ok copy 1 0 1 524288 65536
	# On a handle with O_DSYNC they are durable in every mode but unsafe (P4).
	again=${flush:+fdatasync:$f}
	check O_DSYNC-fallocate "fallocate:$f $after $again reply" ok fallocate 2 alloc 2101248 4096
	check O_DSYNC-copy "$copy $after $again reply" ok copy 1 0 2 589824 65536
	ok poke 1 0 4096 m
	msync="pwritev2:$f:0 reply ${flush:+fdatasync:$f} reply"
	[ $family != passthrough ] || msync="" # the mapping is one of the host file
	check msync "$msync" ok msync 1
	want "4096 m" read 1 0 4096

	fileop_stop
	umount "$T/mnt"
	cmfs_wait c
	strace_stop c
	got=$(sed -n "/mark.msync-end/,\$p" "$T/c.strace" | cat "$T/c.fds" - |
		sed 's/^\([0-9]* openat\)/fd \1/' | events | xargs -n 1 | grep -E '^(f|fdata)?sync' || true)
	echo "-- $mode, umount: $got"
	expect "${flush:+fsync:$f}" "$got" "$mode, umount"
	[ "$mode" != unsafe ] || ! grep -v fgetxattr "$T/c.strace" | grep -E 'sync(_file_range)?\(|RWF_|SYNC\)' ||
		fail "unsafe: a flush after all"
	rm "$T/img" "$T/c.strace"
}

mkdir "$T/mnt"
for mode in $modes; do
	run 1 2 3 4 5
	# The first one settles whether there is passthrough.
	case $mode in none | writethrough | directsync) run 5 1 2 3 4 ;; esac
done
