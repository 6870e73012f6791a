#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Nothing half done (P10): each wrong command, in the foreground and in the background,
# prints exactly one line on stderr that names the thing, ends with 2 for the command
# line or else with 1, leaves nothing mounted, and creates and changes nothing.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"

state() {
	(cd "$T/w" && find . -printf '%p %y %s %m %U %T@\n' | sort && getfattr -R -d . 2>/dev/null)
}

as=()
count=0
# Patterns stand for all that the line must say. The images are in $T/w, where we are.
refused() { # STATUS PATTERN ARG...
	local wanted=$1 pattern=$2 how status
	shift 2
	for how in -f ""; do
		status=0
		# shellcheck disable=SC2086 # no argument if empty
		timeout 60 "${as[@]}" "$CMFS" $how "$@" >"$T/out" 2>"$T/err" || status=$?
		expect "$wanted" "$status" "status of cmfs $how $*"
		expect "" "$(cat "$T/out")" "stdout of cmfs $how $*"
		expect 1 "$(wc -l <"$T/err")" "lines from cmfs $how $*: $(cat "$T/err")"
		grep -qE "^cmfs: .*$pattern" "$T/err" ||
			fail "cmfs $how $*: '$(cat "$T/err")' is not '$pattern'"
		! mounted "$T/w/mnt" || fail "cmfs $how $*: mounted all the same"
		expect "$before" "$(state)" "cmfs $how $*: the folder"
	done
	cat "$T/err"
	count=$((count + 1))
}

chmod 755 "$T"
mkdir -p "$T/w/mnt" "$T/w/dir/img"
cd "$T/w"
all="writeback, none, writethrough, directsync, unsafe"
head -c 64K /dev/urandom >img
cp img other
cp img dir/same
ln img hard
ln -s img link
mv dir/same dir/other
mkfifo fifo
echo secret >private
chmod 600 private
chmod 777 mnt
cp img stored
setfattr -n user.cmfs.cache -v directsink stored
setfattr -n user.cmfs.cache -v "$(printf '%0100d' 0)" dir/other
before=$(state)

# The command line: 2.
refused 2 "no image"
refused 2 "mnt.*mountpoint" mnt
refused 2 "option.*-o.*value" img mnt -o
refused 2 "option.*-P.*value" img mnt -P
refused 2 "unknown option.*-x" -x img mnt
refused 2 "unknown option.*--cache=none" --cache=none img mnt
refused 2 "unknown option.*nonsense" -o nonsense img mnt
refused 2 "unknown option.*nonsense=1" -o cache=none,nonsense=1 img mnt
refused 2 "unknown option.*Cache=none" -o Cache=none img mnt
refused 2 "cache=quick.*$all" -o cache=quick img mnt
refused 2 "cache=None.*$all" -o cache=None img mnt
refused 2 "cache=.*$all" -o cache= img mnt
refused 2 "cache.*value" -o cache img mnt
refused 2 "fsname.*value" -o fsname img mnt
refused 2 "ro=1.*no value" -o ro=1 img mnt
refused 2 "persist=yes.*off, on" -o persist=yes img mnt

# The images: 1.
refused 1 "missing: .*No such file" missing mnt
as=(env --ignore-signal=CHLD) # a caller that wants to hear of no child's end
refused 1 "missing: .*No such file" missing mnt
as=()
refused 1 "missing: .*No such file" img missing mnt
refused 1 "missing: .*No such file" -o cache=directsync,ro missing mnt
refused 1 "dir: is a directory" dir mnt
refused 1 "fifo: is neither a regular file nor a block device" fifo mnt
refused 1 "/dev/null: is neither a regular file nor a block device" /dev/null mnt
refused 1 "other and dir/other .*'other'" -o cache=none other dir/other mnt
refused 1 "img and img are the same file" img img mnt
refused 1 "img and hard are the same file" img hard mnt
refused 1 "img and link are the same file" img link mnt
refused 1 "stored: .*user.cmfs.cache.*directsink.*$all.*cache=" stored mnt
refused 1 "dir/other: .*user.cmfs.cache.*$all.*cache=" dir/other mnt

# The mountpoint and what comes after the images.
refused 1 "nowhere: .*No such file" img nowhere
refused 1 "fifo: .*neither a directory nor.*regular file" img fifo
refused 1 "fifo: .*neither a directory nor.*regular file" -o cache=none img fifo
refused 1 "no/such/pid: .*No such file" -P no/such/pid img mnt
refused 1 "dir: .*directory" -P dir img mnt

# A mode that the host file system cannot give.
mkdir "$T/ram"
if [ "$(id -u)" = 0 ] && mount -t ramfs none "$T/ram"; then
	track_mount "$T/ram"
	cp img "$T/ram/img"
	for mode in none off directsync; do
		refused 1 "ram/img: .*ramfs.*O_DIRECT.*writeback, writethrough and unsafe" \
			-o cache=$mode "$T/ram/img" mnt
		refused 1 "ram/img: .*ramfs.*O_DIRECT" -o ro,cache=$mode other "$T/ram/img" mnt
	done
fi

# What only somebody without root's powers meets.
if [ "$(id -u)" = 0 ]; then
	cp "$CMFS" "$T/cmfs"
	CMFS=$T/cmfs
	as=(setpriv "--reuid=65534" "--regid=65534" --clear-groups)
	refused 1 "private: .*Permission denied" private mnt
	refused 1 "private: .*Permission denied" -o ro private mnt
	refused 1 "img: cannot open for writing: Permission denied.*-o ro" img mnt
	cd /
fi
echo "$count commands refused"
