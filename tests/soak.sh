#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The model test for long, under the sanitizers: tests/soak.sh [SECONDS]
# Runs tests/model/model with all tiers, and without cold, and on one thread, once with AddressSanitizer and
# UndefinedBehaviorSanitizer and once with ThreadSanitizer: SECONDS (default 600) for each of the two. Every step's
# seed is printed, so that a failure can be repeated. Environment:
#   THERMO_BUILD_ROOT  where the build folders go (default: the source tree, as build-soak-*)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
builds=${THERMO_BUILD_ROOT:-$root}
seconds=${1:-600}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || {
	echo "usage: tests/soak.sh [SECONDS]" >&2
	exit 2
}
failed=0

# build NAME COMPILER SANITIZERS
build() {
	local folder=$builds/build-soak-$1
	[ -f "$folder/build.ninja" ] ||
		CC=$2 meson setup "$folder" "$root" --buildtype=debugoptimized -Db_sanitize="$3" \
			-Db_lundef=false >/dev/null
	nice ninja -C "$folder" tests/model/model >"$folder/soak-build.log" 2>&1 || {
		grep -A 10 -E 'error:|FAILED:' "$folder/soak-build.log" >&2
		exit 1
	}
}

# run NAME SECONDS OPTIONS...: prints what the run did, or how it ended.
run() {
	local name=$1 share=$2 log=$builds/build-soak-$1/soak.log code=0
	shift 2
	[ "$share" -gt 0 ] || share=1
	nice "$builds/build-soak-$name/tests/model/model" --seconds "$share" "$@" >"$log" 2>&1 || code=$?
	sed -n "s/^model: seed/$name: seed/p; /^  since the last open/p" "$log"
	[ "$code" = 0 ] && ! grep -q -e 'WARNING: ThreadSanitizer' -e 'ERROR: ' -e 'runtime error' "$log" && return
	failed=$((failed + 1))
	cp "$log" "$log-failed-$failed"
	printf '%s: FAILED with exit code %d; all of it: %s\n' "$name" "$code" "$log-failed-$failed"
	grep -m 5 -A 12 -e 'WARNING: ThreadSanitizer' -e 'ERROR: ' -e 'runtime error' -e '^model: .*:' "$log" || true
}

for name in asan tsan; do
	case $name in
	asan) build asan gcc address,undefined ;;
	tsan) build tsan clang thread ;;
	esac
	run $name $((seconds * 6 / 10)) --threads 4
	run $name $((seconds * 2 / 10)) --threads 1
	run $name $((seconds / 10)) --threads 3 --cold none
	run $name $((seconds / 10)) --threads 3 --warm no
done
printf '%d runs failed\n' "$failed"
[ "$failed" = 0 ]
