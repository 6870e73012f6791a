#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build the fuzzers and run each for some time, beginning with its corpus: the inputs in
# tests/fuzz/corpus/NAME, among them every one that has ever crashed it (crash-*). What
# is found is left in the build folder, and fails the run.
#
# usage: tests/fuzz/run.sh [-t SECONDS] [-s SEED] [-c] [NAME...]
#   -t SECONDS  for each fuzzer (default: 10)
#   -s SEED     repeats a run (default: a new one, which is printed)
#   -c          coverage of the code that they target, as a table
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=10
seed=$((RANDOM * 32768 + RANDOM + 1))
coverage=
while getopts t:s:c option; do
	case $option in
	t) seconds=$OPTARG ;;
	s) seed=$OPTARG ;;
	c) coverage=1 ;;
	*)
		sed -n '/^# usage/,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
		exit 2
		;;
	esac
done
shift $((OPTIND - 1))
names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(ls tests/fuzz/corpus)

build=build-fuzz${coverage:+-coverage}
instrument=-fsanitize=fuzzer-no-link${coverage:+,-fprofile-instr-generate,-fcoverage-mapping}
options=("-Db_sanitize=address,undefined" -Db_lundef=false -Dtests=enabled -Dfuzz=true
	"-Dc_args=$instrument" ${coverage:+"-Dc_link_args=-fprofile-instr-generate"})
if [ ! -d "$build" ]; then
	CC=clang meson setup "$build" "${options[@]}" >"/tmp/cmfs-fuzz.$$" 2>&1 ||
		{ cat "/tmp/cmfs-fuzz.$$" && exit 1; }
	rm -f "/tmp/cmfs-fuzz.$$"
fi
ninja -C "$build" >"$build/build.log" 2>&1 || { cat "$build/build.log" && exit 1; }

work=$(mktemp -d "${TMPDIR:-/var/tmp}/cmfs-fuzz.XXXXXX")
trap 'rm -rf "$work"' EXIT
status=0
printf '%-15s %10s %12s %10s\n' fuzzer seed executions inputs
for name in "${names[@]}"; do
	fuzzer=$PWD/$build/tests/fuzz/fuzz_$name
	mkdir -p "$work/$name" "$build/finds"
	log=$work/$name.log
	if ! (cd "$work" && LLVM_PROFILE_FILE=$work/$name.profraw "$fuzzer" -seed="$seed" \
		-max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=1024 \
		-close_fd_mask=1 -print_final_stats=1 -artifact_prefix="$OLDPWD/$build/finds/$name-" \
		"$work/$name" "$OLDPWD/tests/fuzz/corpus/$name") >"$log" 2>&1; then
		grep -v '^cmfs: ' "$log" | tail -n 40
		status=1
	fi
	printf '%-15s %10s %12s %10s\n' "$name" "$seed" \
		"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
		"$(find "$work/$name" -type f | wc -l)"
done

if [ -n "$coverage" ]; then
	llvm-profdata-14 merge -o "$work/all.profdata" "$work"/*.profraw
	objects=()
	for name in "${names[@]}"; do
		objects+=(-object "$build/tests/fuzz/fuzz_$name")
	done
	llvm-cov-14 report "${objects[@]}" -instr-profile="$work/all.profdata" \
		-ignore-filename-regex='tests/|subprojects/' | sed "s|$PWD/||"
fi
exit $status
