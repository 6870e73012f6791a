#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Benchmarks: cmfs beside the host file itself and beside other FUSE exports, in
# one run, interleaved. See bench.py -h for what is measured.
#
# usage: tests/bench/run.sh [--quick] [--peers A,B] [--out DIR] [--dir DIR]
set -euo pipefail
cd "$(dirname "$0")/../.."
tools/setup.sh bench
dir=build-bench
[ -f "$dir/build.ninja" ] || meson setup "$dir" -Dbuildtype=release >/dev/null
ninja -C "$dir" >/dev/null
exec python3 tests/bench/bench.py --cmfs "$PWD/$dir/fuse/cmfs" "$@"
