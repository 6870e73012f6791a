#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What cannot be had of aio= is said in one line that names it and what would work, and
# nothing is mounted (P10): native without O_DIRECT, and what the kernel does not give. A
# switch away from the direct modes is refused, too, and the old mode holds (P7). Once
# mounted, what the kernel does not give costs speed only.
CMFS_DETECT_LEAKS=0
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/fileop.sh
. "$LIB/fileop.sh"
# shellcheck source=../lib/strace.sh
. "$LIB/strace.sh"
# shellcheck source=../lib/aio.sh
. "$LIB/aio.sh"

refused() { # WORDS COMMAND...
	local words=$1 status=0
	shift
	"$@" >out 2>err || status=$?
	expect 1 "$status" "$*: status"
	expect 1 "$(wc -l <err)" "$*: lines on stderr: $(cat err)"
	grep -q -- "$words" err || fail "$*: '$(cat err)' lacks '$words'"
	! mounted mnt || fail "$*: mounted"
}

without() { # CALL:ERROR COMMAND...
	local call=${1%%:*} inject=${1/:/:error=}
	shift
	strace -f -qqq -o strace.out -e trace="$call" -e inject="$inject" "$@"
}

mkdir mnt
truncate -s 4M img
ways=" $(aio_ways | xargs) "

# ---- native and the modes ----

if [[ $ways = *" native "* ]]; then
	for mode in writeback writethrough unsafe; do
		words="img: aio=native .*cache=$mode .*cache=none and cache=directsync.*aio=threads"
		refused "$words" "$CMFS" -o cache=$mode,aio=native img mnt
		refused "$words" "$CMFS" --drive file=img,cache=$mode,aio=native mnt
	done
	refused "cache=writeback" "$CMFS" --drive file=img,aio=native mnt
	setfattr -n user.cmfs.cache -v none img
	cmfs_start c --drive file=img,aio=native,persist mnt # the stored mode will do
	fileop_start
	ok open 1 mnt/img
	ok write 1 0 4096 a
	for mode in writeback writethrough unsafe; do
		before=$(fd_flags "${PID[c]}" img)
		: >c.log
		want EINVAL cache 1 $mode
		expect 1 "$(wc -l <c.log)" "lines in the log"
		grep -q "img.*aio=native.*cache=$mode.*cache=none and cache=directsync" c.log ||
			fail "the log does not say why: $(cat c.log)"
		expect none "$(getfattr --only-values -n user.cmfs.cache mnt/img)"
		expect none "$(getfattr --only-values -n user.cmfs.cache img)" "what is stored"
		expect "$before" "$(fd_flags "${PID[c]}" img)" "descriptors after"
		want "4096 a" read 1 0 4096
	done
	want 0 cache 1 directsync
	want EINVAL cache 1 writeback
	expect directsync "$(getfattr --only-values -n user.cmfs.cache mnt/img)"
	ok write 1 100 5000 b
	want "5000 b" read 1 100 5000
	fileop_stop
	cmfs_stop c
	setfattr -x user.cmfs.cache img
fi
status=0
"$CMFS" -o aio=uring img mnt 2>err || status=$?
expect 2 $status "aio=uring: status"
grep -q "aio=uring.*threads, native, io_uring" err || fail "aio=uring: $(cat err)"

# ---- native and io_uring where the kernel refuses ----

if [[ $ways = *" native "* ]]; then
	refused "img: aio=native .*fs.aio-max-nr.*aio=threads" \
		without io_setup:EAGAIN "$CMFS" -o cache=none,aio=native img mnt
	refused "img: aio=native .*not implemented.*aio=threads" \
		without io_setup:ENOSYS "$CMFS" -o cache=none,aio=native img mnt
fi
if [[ $ways = *" io_uring "* ]]; then
	refused "img: aio=io_uring .*kernel.io_uring_disabled.*aio=threads" \
		without io_uring_setup:EPERM "$CMFS" -o aio=io_uring img mnt
	refused "img: aio=io_uring .*no io_uring.*aio=threads" \
		without io_uring_setup:ENOSYS "$CMFS" -o aio=io_uring img mnt
	refused "img: aio=io_uring .*ulimit -l.*aio=threads" \
		without io_uring_setup:ENOMEM "$CMFS" -o aio=io_uring img mnt
fi

# ---- and where it does so later ----

# Of each thread, calls fail from the mount on; data is as it should be all the same.
later() { # CALL:ERROR[:when=N+] WAY
	local call=${1%%:*} inject=${1/:/:error=} i
	cmfs_start c -o "cache=none,aio=$2,passthrough=off" img mnt
	strace -f -qqq -o strace.out -e trace="$call" -e inject="$inject" -p "${PID[c]}" 2>/dev/null &
	PID[strace]=$!
	: >strace.log
	for ((i = 0; i < 600; i++)); do
		! strace_attached "${PID[c]}" || break
		sleep 0.05
	done
	head -c 4000000 /dev/urandom >data
	dd if=data of=mnt/img bs=1M conv=notrunc status=none
	dd if=data of=mnt/img bs=9999 skip=100 seek=100 count=20 conv=notrunc oflag=dsync status=none
	dd if=mnt/img of=back bs=1M iflag=direct status=none
	cmp -n 4000000 back data
	cmfs_stop c
	cmfs_wait strace
	cmp -n 4000000 img data
	grep -q INJECTED strace.out || fail "$*: nothing was refused"
}

if [[ $ways = *" native "* ]]; then
	later io_setup:EAGAIN native
	later io_submit:EAGAIN:when=1+2 native
	later io_getevents:EINTR:when=1+2 native
fi
if [[ $ways = *" io_uring "* ]]; then
	later io_uring_setup:EPERM io_uring
	later io_uring_enter:EINTR:when=1+2 io_uring
fi
