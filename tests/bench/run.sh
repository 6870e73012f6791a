#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Benchmarks: cmfs beside the host file itself and beside other FUSE exports, in
# one run, interleaved. As root. What is measured, and more options: --help.
#
# usage: tests/bench/run.sh [--quick] [--peers A,B] [--out DIR] [--dir DIR]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build-bench
fuse=$root/subprojects/fuse3

# libfuse's own example of kernel passthrough, against the library that cmfs has.
build_passthrough_hp() {
	local source=$fuse/example/passthrough_hp.cc lib=$build/subprojects/fuse3/lib/libfuse3.a
	[ -f "$source" ] && [ -f "$lib" ] && command -v g++ >/dev/null || return 0
	hp=$build/passthrough_hp
	if [ ! -x "$hp" ] || [ "$lib" -nt "$hp" ]; then
		g++ -O2 -std=c++17 -I "$build/subprojects/fuse3" -I "$fuse/include" "$source" "$lib" \
			-lpthread -ldl -lrt -o "$hp" 2>"$hp.log" || hp=""
	fi
}

"$root/tools/setup.sh" bench
[ -f "$build/build.ninja" ] || meson setup "$build" "$root" -Dbuildtype=release >/dev/null
ninja -C "$build" >/dev/null
hp=""
build_passthrough_hp
exec python3 "$root/tests/bench/bench.py" --cmfs "$build/fuse/cmfs" --passthrough-hp "$hp" "$@"
