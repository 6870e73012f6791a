#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# dd, cp, cat, head and tail in every mode: each change is made to a model file on
# the host, too, and the image is the same byte for byte, in the mount, on the
# host and after the unmount (P9). A truncating open leaves only what it wrote. Where
# the kernel serves O_DIRECT, what is unaligned is refused, and done without O_DIRECT.
# shellcheck source=../lib/mount.sh
. "$(dirname "$0")/../lib/mount.sh"
# shellcheck source=../lib/passthrough.sh
. "$LIB/passthrough.sh"

data=$T/data
img=$T/mnt/img
wanted=$T/wanted

# same "FLAG..." ARG...: dd with ARGs to the model, with the flags as well to the image
same() {
	local flags bs bytes
	read -ra flags <<<"$1"
	shift
	bytes=$(LC_ALL=C dd if="$data" of="$wanted" "$@" 2>&1 | awk '/ copied/ { print $1 }')
	bs=$(numfmt --from=iec "${1#bs=}")
	case "${flags[*]}" in
	*direct*)
		if served_by_kernel "$mode" "${flags[@]#oflag=}" &&
			[ $((bs % align + bytes % align)) != 0 ]; then
			refused_unaligned dd if="$data" of="$img" "$@" "${flags[@]}"
			flags=("${flags[@]/direct/nonblock}")
		fi
		;;
	esac
	dd if="$data" of="$img" status=none "$@" "${flags[@]}" || fail "cache=$mode: dd $* ${flags[*]}"
	cmp "$wanted" "$img" || fail "cache=$mode: dd $* ${flags[*]}: in the mount"
	cmp "$wanted" "$T/img" || fail "cache=$mode: dd $* ${flags[*]}: on the host"
}

mkdir "$T/mnt"
align=$(direct_align "$T")
head -c 700001 /dev/urandom >"$data"
for mode in $modes; do
	head -c 1000003 /dev/urandom | tee "$wanted" >"$T/img"
	cmfs_start c -o cache="$mode" "$T/img" "$T/mnt"

	for flags in "" oflag=direct oflag=dsync oflag=sync oflag=direct,dsync conv=fsync,notrunc \
		conv=fdatasync,notrunc; do
		same "$flags" bs=64K conv=notrunc
		same "$flags" bs=64K count=10 conv=notrunc
		same "$flags" bs=7777 count=20 seek=3 skip=1 conv=notrunc
		same "$flags" bs=1 count=7 seek=70001 skip=99 conv=notrunc
		same "$flags" bs=512 count=9 seek=1025 skip=5 conv=notrunc
		same "$flags" bs=100003 count=2 seek=9 conv=notrunc # over the end
	done
	# Past the end, with a gap; appending; an open that truncates.
	same oflag=direct bs=333 count=1 seek=5000 conv=notrunc
	same conv=fsync,notrunc bs=1000 count=3 seek=2000001 oflag=seek_bytes conv=notrunc
	same "" bs=4999 count=3 oflag=append conv=notrunc
	same "" bs=1 count=3 skip=5 oflag=append conv=notrunc
	same oflag=direct bs=10K count=11
	same oflag=dsync bs=9999 count=13
	same "" bs=1M
	same "" bs=1000 count=1 seek=100 # cut at 100000, then 1000 more
	expect 101000 "$(stat -c %s "$img")" "cache=$mode: size"

	dd if="$img" iflag=direct bs=4K status=none | cmp - "$wanted"
	if was_mappable=1 served_by_kernel "$mode" rdonly direct && [ "$align" -gt 1 ]; then
		refused_unaligned dd if="$img" iflag=direct bs=12345
		dd if="$img" bs=12345 status=none | cmp - "$wanted"
	else
		dd if="$img" iflag=direct bs=12345 status=none | cmp - "$wanted"
	fi
	dd if="$img" bs=1 skip=70000 count=3000 status=none | cmp - <(tail -c +70001 "$wanted" | head -c 3000)

	cat "$data" >>"$img"
	cat "$data" >>"$wanted"
	expect 801001 "$(stat -c %s "$T/img")" "cache=$mode: size on the host"
	cmp "$wanted" "$img"
	cmp <(tail -c 1001 "$img") <(tail -c 1001 "$wanted")
	cmp <(head -c 123457 "$img") <(head -c 123457 "$wanted")
	cp "$img" "$T/copy"
	cmp "$wanted" "$T/copy"
	cp "$data" "$img"
	cmp "$data" "$img"
	cmp "$data" "$T/img"
	cmfs_stop c
	cmp "$data" "$T/img" || fail "cache=$mode: the image after unmount"
done
