#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# -o passthrough=: off does without, auto takes it where it can be had, on fails where
# it cannot, in one line that names the reason and with nothing left mounted (P10). The
# log tells once of each image which path it has, user.cmfs.datapath says the same and
# cannot be changed, and it is the truth: the kernel does the I/O, or does not. As
# root, and as an unprivileged user by fusermount3.
[ -n "${CMFS_OWN_NAMESPACE:-}" ] || [ "$(id -u)" != 0 ] ||
	CMFS_OWN_NAMESPACE=1 exec unshare -m --propagation private "$0"
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/user.sh
. "$LIB/user.sh"
# shellcheck source=../lib/hostfs.sh
. "$LIB/hostfs.sh"

[ "$(id -u)" = 0 ] || skip "becoming another user needs root"
path_of() { # IMAGE
	"${by[@]}" getfattr --absolute-names --only-values -n user.cmfs.datapath "$mnt/$1" |
		sed 's/; open: .*//'
}

log_lines() { # IMAGE
	grep -c "^cmfs: $1: data path: " "$T/$name.log" || true
}

# What is said of the images a and b, everywhere, and whether it is so.
says() { # WANTED
	local image writes
	for image in a b; do
		expect "$1" "$(path_of $image)" "$what: $image: user.cmfs.datapath"
		expect 1 "$(log_lines $image)" "$what: $image: lines in the log"
		grep -qxF "cmfs: $image: data path: $1" "$T/$name.log" || fail "$what: $image: not in the log"
		for value in passthrough daemon ""; do
			"${by[@]}" setfattr -n user.cmfs.datapath -v "$value" "$mnt/$image" 2>"$T/err" &&
				fail "$what: $image: set"
			grep -q "Read-only file system" "$T/err" || fail "$what: $image: $(cat "$T/err")"
		done
		"${by[@]}" setfattr -x user.cmfs.datapath "$mnt/$image" 2>"$T/err" &&
			fail "$what: $image: removed"
		grep -q "Read-only file system" "$T/err" || fail "$what: $image: $(cat "$T/err")"
		expect "$1" "$(path_of $image)" "$what: $image: afterwards"
	done
	writes=$(grep -c "opcode: WRITE" "$T/$name.log" || true)
	"${by[@]}" dd if=/dev/zero of="$mnt/b" bs=4096 count=10 conv=notrunc status=none
	writes=$(($(grep -c "opcode: WRITE" "$T/$name.log" || true) - writes))
	case $1 in
	passthrough) expect 0 $writes "$what: WRITE requests" ;;
	*) expect 10 $writes "$what: WRITE requests" ;;
	esac
	echo "$what: $1"
}

# goes WANTED ARG...: it mounts
goes() {
	local wanted=$1
	shift
	what="as ${by[*]:-root}, ${*:-no option}"
	cmfs_start "$name" -d "$@" "$images/a" "$images/b" "$mnt"
	says "$wanted"
	"${unmount[@]}" "$mnt"
	cmfs_wait "$name"
}

# refused STATUS WANTED-TEXT ARG...
refused() {
	local wanted=$1 text=$2 status=0
	shift 2
	what="as ${by[*]:-root}, ${*:-no option}"
	"$CMFS" -P "$images/pid" "$@" "$images/a" "$images/b" "$mnt" 2>"$T/err" || status=$?
	cat "$T/err"
	expect "$wanted" $status "$what: status"
	expect 1 "$(wc -l <"$T/err")" "$what: lines"
	grep -q "^cmfs: .*$text" "$T/err" || fail "$what: not '$text'"
	! mounted "$mnt" || fail "$what: mounted all the same"
	[ ! -e "$images/pid" ] || fail "$what: left a pid file"
}

run_as() { # COMMAND...: $CMFS is run by it
	printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$*" "$T/cmfs" >"$T/run"
	chmod 755 "$T/run"
	CMFS=$T/run
}

# The daemon of the build itself: each case below says what it wants.
cp "$CMFS_BUILD/fuse/cmfs" "$T/cmfs"
mkdir "$T/mnt"
head -c 1M /dev/zero | tee "$T/a" >"$T/b"
images=$T mnt=$T/mnt name=c by=() unmount=(umount)

run_as env
cmfs_start c "$T/a" "$mnt"
can=$(path_of a)
cmfs_stop c
goes "daemon: passthrough=off" -o passthrough=off
refused 2 "passthrough=maybe: it is auto, on or off" -o passthrough=maybe
refused 2 "option 'passthrough' needs a value" -o passthrough
if [ "$can" = passthrough ]; then
	goes passthrough
	goes passthrough -o passthrough=auto
	goes passthrough -o passthrough=on
	goes passthrough -o passthrough=off,passthrough=on # the last one counts
	goes "daemon: passthrough=off" -o passthrough=on,passthrough=off
else
	goes "$can" -o passthrough=auto
	refused 1 "passthrough=on: ${can#daemon: }" -o passthrough=on
fi

# By whom the handles are served that are open.
open_now() { # WANTED: what follows "passthrough"
	wants datapath_is "passthrough; open: $1" ||
		fail "wanted $1, got $(getfattr --only-values --absolute-names -n user.cmfs.datapath "$mnt/a")"
}
datapath_is() {
	[ "$(getfattr --only-values --absolute-names -n user.cmfs.datapath "$mnt/a")" = "$1" ]
}
if [ "$can" = passthrough ]; then
	cmfs_start c -o cache=writeback "$T/a" "$mnt"
	open_now "0 by the kernel, 0 by the daemon"
	exec 5<>"$mnt/a" 6<>"$mnt/a"
	open_now "2 by the kernel, 0 by the daemon"
	exec 5>&- 6>&-
	setfattr -n user.cmfs.cache -v none "$mnt/a"
	exec 5<>"$mnt/a"
	open_now "0 by the kernel, 1 by the daemon"
	exec 5>&-
	open_now "0 by the kernel, 0 by the daemon"
	cmfs_stop c
	cmfs_start c -o cache=writethrough "$T/a" "$mnt"
	exec 5<>"$mnt/a"
	open_now "0 by the kernel, 1 by the daemon" # through the kernel's cache
	exec 5>&-
	open_now "0 by the kernel, 0 by the daemon"
	setfattr -n user.cmfs.cache -v writeback "$mnt/a"
	exec 5<>"$mnt/a"
	open_now "1 by the kernel, 0 by the daemon" # the one before is closed
	exec 5>&-
	cmfs_stop c
	can="daemon: passthrough needs CAP_SYS_ADMIN"
fi

# The reason is the privilege, as far as the kernel has it at all.
no_privilege() {
	goes "$can"
	goes "$can" -o passthrough=auto
	goes "daemon: passthrough=off" -o passthrough=off
	refused 1 "a: passthrough=on: ${can#daemon: }" -o passthrough=on
	refused 1 "a: syncflag=on: ${can#daemon: }" -o syncflag=on
}

# As a user. A /dev/fuse for everyone, in a /dev that only this namespace sees.
if [ ! -u "$(command -v fusermount3)" ]; then
	echo "no set-user-ID fusermount3: not tried as a user"
	exit 0
fi
mkdir "$T/u" "$T/u/mnt"
user_dev
chmod 755 "$T"
head -c 1M /dev/zero | tee "$T/u/a" >"$T/u/b"
chown -R 65534:65534 "$T/u"
# A name in a folder where it may write its pid file.
images=$T/u mnt=$T/u/mnt name=u/c by=(user) unmount=(user fusermount3 -u)
run_as setpriv --reuid=65534 --regid=65534 --clear-groups
no_privilege
cd /
