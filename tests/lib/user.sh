# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# An unprivileged user who may mount by fusermount3. Needs root, in a mount namespace of
# the test's own. Sourced after mount.sh.
#
#   user COMMAND...      run it as nobody
#   user_dev             from now on /dev is $T/dev, with a /dev/fuse for everyone; leave
#                        it (cd /) before the end

user() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

user_dev() {
	local node
	mkdir "$T/dev"
	mount -t tmpfs -o mode=755 none "$T/dev"
	track_mount "$T/dev"
	for node in "null 1 3" "zero 1 5" "urandom 1 9" "fuse 10 229"; do
		# shellcheck disable=SC2086 # three words
		mknod -m 666 "$T/dev/${node%% *}" c ${node#* } || skip "device nodes cannot be made here"
	done
	ln -s /proc/self/fd "$T/dev/fd"
	mount --bind "$T/dev" /dev
	track_mount /dev
}
