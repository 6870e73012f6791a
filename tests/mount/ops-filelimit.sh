#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A daemon that was started under a file size limit (ulimit -f) answers EFBIG to
# what would pass it, in every mode; it does not end by SIGXFSZ, the image has not
# failed (P5), and what lies below the limit goes on (P9). A handle that the kernel
# serves has the limit of the application instead, as on the host.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

# too_large COMMAND...: it fails, and says so
too_large() {
	local message
	message=$(LC_ALL=C "$@" 2>&1) && fail "cache=$mode: not refused: $*"
	case "$message" in
	*"File too large"*) ;;
	*) fail "cache=$mode: $*: $message" ;;
	esac
}

# own_limit COMMAND...: a write that fails by the limit of who does it, not the daemon's
own_limit() {
	(
		trap '' XFSZ
		ulimit -f 8192
		too_large "$@"
	)
	cmp "$T/wanted" "$T/mnt/img" || fail "cache=$mode: after a refused request"
	"$@" || fail "cache=$mode: refused by the daemon's limit: $*"
	truncate -s 100001 "$T/mnt/img"
}

# The limit is in KiB.
cat >"$T/limited" <<-EOF
	#!/bin/bash
	ulimit -f 8192
	exec "$CMFS" "\$@"
EOF
chmod +x "$T/limited"
CMFS=$T/limited
mkdir "$T/mnt"
for mode in $modes; do
	head -c 100001 /dev/urandom | tee "$T/wanted" >"$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"
	limited=too_large
	! served_by_kernel "$mode" || limited=own_limit
	$limited dd if=/dev/zero of="$T/mnt/img" bs=4096 count=2 seek=2048 conv=notrunc status=none
	$limited dd if=/dev/zero of="$T/mnt/img" bs=777 count=1 seek=8388609 oflag=seek_bytes \
		conv=notrunc status=none
	too_large truncate -s 8388609 "$T/mnt/img"
	too_large fallocate -l 8388609 "$T/mnt/img"
	cmp "$T/wanted" "$T/mnt/img" || fail "cache=$mode: after refused requests"
	for f in "$T/wanted" "$T/mnt/img"; do
		printf 'below the limit' | dd of="$f" bs=15 seek=99999 oflag=seek_bytes \
			conv=notrunc,fsync status=none
	done
	cmfs_stop c
	cmp "$T/wanted" "$T/img" || fail "cache=$mode: the image after unmount"
done
