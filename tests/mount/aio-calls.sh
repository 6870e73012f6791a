#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# aio= is real: which system calls do the daemon's I/O in each way and mode, how many
# requests are given to the kernel at once, and with which flags (P1, P4). Large requests
# go in parts, but not where they grow the file (P9) or are durable; a read-modify-write
# reads head and tail together.
CMFS_DETECT_LEAKS=0
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"
# shellcheck source=../lib/aio.sh
. "$LIB/aio.sh"
strace_calls+=,io_submit,io_getevents,io_uring_enter

# The reads and writes of data of one operation, as words; what waits for them is left out.
#   pread64 pwritev2[:RWF]               by the thread itself
#   submit:N[:RWF][:pread|:pwrite]...    io_submit(2) of N requests
#   enter:N                              io_uring_enter(2) of N
io_of() { # FROM TO
	section c "$1" "$2" | sed '/^fd /d' | awk '
		/ io_uring_enter\(/ && match($0, /\([0-9]+<[^>]*>, [0-9]+/) {
			split(substr($0, RSTART, RLENGTH), arg, " ")
			if (arg[2] > 0) # else it only waits
				printf "enter:%d ", arg[2]
		}
		/ io_submit\(/ {
			n = gsub(/aio_fildes=/, "&")
			flag = /aio_rw_flags=RWF_DSYNC/ ? ":RWF_DSYNC" : /aio_rw_flags=RWF_SYNC/ ? ":RWF_SYNC" : ""
			printf "submit:%d%s:%s ", n, flag, /CMD_PWRITE/ ? "pwrite" : "pread"
		}
		/ pread64\(/ { printf "pread64 " }
		/ pwritev2\(/ {
			printf "pwritev2%s ", /RWF_DSYNC/ ? ":RWF_DSYNC" : /RWF_SYNC/ ? ":RWF_SYNC" : ""
		}' | sed 's/ $//'
}

n=0
check() { # WANTED COMMAND...
	local wanted=$1 got
	shift
	n=$((n + 1))
	ok mark 1 "b$n"
	ok "$@"
	ok mark 1 "e$n"
	got=$(io_of "b$n" "e$n")
	echo "-- aio=$aio, $mode, $*: $got"
	expect "$wanted" "$got" "aio=$aio, $mode, $*"
}

# What one request, or @1 of them at once, look like: in $one_read, $one_write ...
set_words() {
	local dsync=:RWF_DSYNC sync=:RWF_SYNC
	case $mode in directsync | writethrough) dsync="" ;; esac
	[ "$mode" != unsafe ] || dsync="" sync=""
	case $aio in
	threads)
		read_1=pread64 read_2="pread64 pread64" read_parts=pread64
		write_1=pwritev2 write_parts=pwritev2
		write_dsync=pwritev2$dsync write_sync=pwritev2$sync
		;;
	native)
		read_1=submit:1:pread read_2=submit:2:pread read_parts=submit:2:pread
		write_1=submit:1:pwrite write_parts=submit:2:pwrite
		write_dsync=submit:1$dsync:pwrite write_sync=submit:1$sync:pwrite
		;;
	io_uring) # its writes must end before the daemon does: aio-killed.sh
		read_1=enter:1 read_2=enter:2 read_parts=enter:2
		write_1=pwritev2 write_parts=pwritev2
		write_dsync=pwritev2$dsync write_sync=pwritev2$sync
		;;
	esac
	case $mode in none) ;; *) write_parts=$write_1 ;; esac
}

mkdir "$T/mnt"
for aio in $(aio_ways); do
	for mode in $(aio_modes "$aio"); do
		set_words
		fallocate -l 4M "$T/img"
		cmfs_start c -o "cache=$mode,aio=$aio,passthrough=off" "$T/img" "$T/mnt"
		fileop_start
		ok open 1 "$T/mnt/img"
		ok open 2 "$T/mnt/img" direct
		strace_start c
		check "$read_1" read 2 4096 4096
		check "$read_1" read 2 1048576 131072
		check "$read_parts" read 2 1048576 1048576
		check "$write_1" write 2 0 4096 a
		check "$write_1" write 2 0 131072 a
		check "$write_parts" write 2 0 1048576 a
		check "$write_dsync" write 2 0 4096 b dsync
		check "$write_sync" write 2 0 4096 c sync
		check "$write_dsync" write 2 0 1048576 b dsync
		# Growing the file, from inside it and from its end.
		check "$write_1" write 2 3670016 1048576 d
		ok truncate 1 4194304
		check "$write_1" write 2 4194304 1048576 d
		case $mode in
		none | directsync)
			check "$read_1 $write_1" write 1 100 10 e
			check "$read_2 $write_1" write 1 4000 20000 e
			;;
		esac
		strace_stop c
		fileop_stop
		cmfs_stop c
		rm "$T/img"
	done
done
