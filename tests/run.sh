#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every test: sets the machine up, checks style, then for each build (plain,
# asan, tsan, clang) the unit tests and the mount tests. Needs root for the
# mount tests that need it; they skip, with a reason, where they cannot run. Last
# come the fuzzers, each for some seconds.
#
# usage: tests/run.sh [--no-skip] [--only PATTERN] [plain|asan|tsan|clang|style|fuzz]...
#   --no-skip       a skipped test is a failure
#   --only PATTERN  only the tests whose name matches (shell pattern)
set -euo pipefail
cd "$(dirname "$0")/.."

no_skip=0
only='*'
variants=()
while [ $# -gt 0 ]; do
	case "$1" in
	--no-skip) no_skip=1 ;;
	--only)
		only=$2
		shift
		;;
	plain | asan | tsan | clang | style | fuzz) variants+=("$1") ;;
	*)
		sed -n '/^# usage/,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
		exit 2
		;;
	esac
	shift
done
[ ${#variants[@]} -gt 0 ] || variants=(style plain clang asan tsan fuzz)

tools/setup.sh test

passed=0 failed=0 skipped=0
failures=()

result() { # NAME VERDICT [REASON]
	case "$2" in
	ok) passed=$((passed + 1)) ;;
	skip)
		skipped=$((skipped + 1))
		[ $no_skip = 0 ] || failures+=("$1: skipped, which is not allowed here: ${3:-}")
		;;
	*)
		failed=$((failed + 1))
		failures+=("$1")
		;;
	esac
	printf '%-6s %s%s\n' "$2" "$1" "${3:+ ($3)}"
}

run_style() {
	local c sh
	mapfile -t c < <(find core fuse include tests -name '*.[ch]')
	mapfile -t sh < <(find examples fuse tests tools .ci -name '*.sh' -o -name '*.bash-completion' -o \
		-path .ci/run)
	check style/clang-format clang-format --dry-run --Werror "${c[@]}"
	check style/shellcheck shellcheck -x "${sh[@]}"
	for page in man/*.[1-8]; do
		check "style/$(basename "$page")" mandoc -T lint -W warning "$page"
	done
}

# The same each time, as far as time allows; tests/fuzz/run.sh has other seeds.
run_fuzz() {
	local dir
	for dir in tests/fuzz/corpus/*; do
		check "fuzz/$(basename "$dir")" tests/fuzz/run.sh -t 5 -s 1 "$(basename "$dir")"
	done
}

check() { # NAME COMMAND...
	local name=$1 log
	shift
	# shellcheck disable=SC2254 # a pattern is meant
	case "$name" in $only) ;; *) return 0 ;; esac
	log=$(mktemp)
	if "$@" >"$log" 2>&1; then
		result "$name" ok
	else
		result "$name" FAIL
		tail -n 60 "$log"
	fi
	rm -f "$log"
}

configure() { # VARIANT
	local dir=build-$1 options=(-Dwerror=true -Dtests=enabled -Dlibaio=enabled -Dliburing=enabled)
	case "$1" in
	asan) options+=('-Db_sanitize=address,undefined' -Db_lundef=false) ;;
	tsan) options+=(-Db_sanitize=thread -Db_lundef=false) ;;
	clang) export CC=clang ;;
	esac
	# A build folder of another state of the tree is made anew, not trusted.
	meson setup --reconfigure "$dir" "${options[@]}" >/dev/null 2>&1 ||
		{ rm -rf "$dir" && meson setup "$dir" "${options[@]}"; } >"/tmp/cmfs-meson.$$" 2>&1 ||
		{ cat "/tmp/cmfs-meson.$$" && return 1; }
	rm -f "/tmp/cmfs-meson.$$"
	ninja -C "$dir" >"$dir/build.log" 2>&1 || { cat "$dir/build.log" && return 1; }
	unset CC
}

# A mount test by both data paths, where there are two: what the kernel may do itself,
# and all through the daemon. Sanitizers have more to look at in the second one.
list_mount_test() { # VARIANT NAME PATH
	case $2 in
	# Images and layers that the kernel cannot serve itself, and what is no I/O.
	aio-* | blkdev-* | nbd-* | format-* | snapshot-* | detect-* | discard-*) ;&
	fault-rules | powercut-* | log-writes-* | lock-* | cli-* | system-*) echo "mount/$2" "$3" ;;
	# Whole scripts of a user's, which take long.
	docs-*)
		[ "$1" != plain ] || echo "mount/$2" "$3"
		;;
	*)
		[ "$1" != plain ] || echo "mount/$2" "$3"
		echo "mount-daemon/$2" "env CMFS_PASSTHROUGH=off $3"
		;;
	esac
}

# All tests of a build: NAME COMMAND..., a line each, in the order to run.
list_tests() { # VARIANT
	local t
	for t in "build-$1"/tests/{core,fuse}/test_*; do
		[ -x "$t" ] && [ -f "$t" ] && echo "$(basename "$(dirname "$t")")/$(basename "$t")" "$t"
	done
	# The compiler makes no difference to how the daemon meets the kernel.
	[ "$1" != clang ] || return 0
	for t in tests/mount/*.sh; do
		[ ! -x "$t" ] || list_mount_test "$1" "$(basename "$t" .sh)" "$t"
	done
	# A package is built with flags of its own: once will do.
	[ "$1" = plain ] || return 0
	for t in tests/package/*.sh; do
		[ ! -x "$t" ] || echo "package/$(basename "$t" .sh)" "$t"
	done
}

run_variant() { # VARIANT
	local variant=$1 name command log status start
	if ! configure "$variant"; then
		result "$variant/build" FAIL
		return
	fi
	result "$variant/build" ok
	export CMFS_VARIANT=$variant CMFS_BUILD=$PWD/build-$variant
	export CMFS=$CMFS_BUILD/fuse/cmfs CMFS_TEST_DIR=${CMFS_TEST_DIR:-/var/tmp}
	log=$(mktemp)
	while read -r -u 3 name command; do
		name=$variant/$name
		# shellcheck disable=SC2254 # a pattern is meant
		case "$name" in $only) ;; *) continue ;; esac
		start=$SECONDS
		status=0
		# shellcheck disable=SC2086 # words are meant
		# TSan of gcc 12 cannot live with much address randomisation.
		setarch -R timeout --kill-after=20 600 $command >"$log" 2>&1 </dev/null ||
			status=$?
		case $status in
		0) result "$name" ok "$((SECONDS - start)) s" ;;
		77) result "$name" skip "$(tail -n 1 "$log")" ;;
		*)
			result "$name" FAIL "status $status, $((SECONDS - start)) s"
			tail -n 80 "$log"
			;;
		esac
	done 3< <(list_tests "$variant")
	rm -f "$log"
}

for variant in "${variants[@]}"; do
	case "$variant" in
	style) run_style ;;
	fuzz) run_fuzz ;;
	*) run_variant "$variant" ;;
	esac
done

echo
for f in ${failures[@]+"${failures[@]}"}; do
	echo "FAILED: $f"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ ${#failures[@]} = 0 ]
