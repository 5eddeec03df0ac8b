#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs the fuzz targets, with AddressSanitizer and UndefinedBehaviorSanitizer:
#   tests/fuzz.sh SECONDS [TARGET...]
# Each target gets SECONDS of CPU time, one after the other at low priority, and begins where the last run
# ended. Prints a line for each target and exits with 1 if something was found; then it minimises the kept
# corpus (tests/*/corpus/TARGET). Environment:
#   THERMO_BUILD_ROOT  where the build folder goes (default: the source tree, as build-fuzz)
#   THERMO_FUZZ_KEEP   "no": the kept corpus is not touched
# build-fuzz/runs/TARGET holds the log, what was new (new/), and what was found (found/): run
# build-fuzz/tests/fuzz_TARGET FILE to see it again.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${THERMO_BUILD_ROOT:-$root}/build-fuzz
round=60 # seconds of wall-clock time between two looks at the CPU time

usage() {
	sed -n 's/^#   tests/usage: tests/p' "${BASH_SOURCE[0]}" >&2
	exit 2
}

seconds=${1:-}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || usage
shift
declare -A corpus
for source in "$root"/tests/*/fuzz_*.c; do
	name=${source##*/fuzz_}
	name=${name%.c}
	corpus[$name]=${source%/*}/corpus/$name
done
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(printf '%s\n' "${!corpus[@]}" | sort)
for target in "${targets[@]}"; do
	[ -n "${corpus[$target]:-}" ] || {
		printf 'fuzz: no target is called %s; there are: %s\n' "$target" "${!corpus[*]}" >&2
		exit 2
	}
done

[ -f "$build/build.ninja" ] ||
	CC=clang meson setup "$build" "$root" --buildtype=debugoptimized -Dfuzz=true \
		-Db_sanitize=address,undefined -Db_lundef=false >/dev/null
nice ninja -C "$build" "${targets[@]/#/tests/fuzz_}" >"$build/fuzz-build.log" 2>&1 || {
	grep -A 10 -E 'error:|FAILED:' "$build/fuzz-build.log" >&2
	exit 1
}

# CPU seconds of what has run so far.
cpu() {
	awk -v ticks="$(getconf CLK_TCK)" '{ printf "%d", ($16 + $17) / ticks }' "/proc/$$/stat"
}

# fuzz TARGET: until it has had its CPU time; the log tells runs and coverage.
fuzz() {
	local target=$1 runs=$build/runs/$1 program=$build/tests/fuzz_$1 from spent
	mkdir -p "$runs/new" "$runs/found" "$runs/seeds" "${corpus[$target]}"
	: >"$runs/log"
	nice "$program" --seeds "$runs/seeds"
	from=$(cpu)
	while :; do
		nice "$program" -max_total_time=$((seconds < round ? seconds : round)) -timeout=600 -report_slow_units=600 \
			-rss_limit_mb=3000 -print_final_stats=1 -artifact_prefix="$runs/found/" \
			"$runs/new" "${corpus[$target]}" "$runs/seeds" >>"$runs/log" 2>&1 </dev/null || true
		spent=$(($(cpu) - from))
		[ "$spent" -lt "$seconds" ] || break
		[ "$(find "$runs/found" -type f ! -name 'slow-*' | wc -l)" -lt 20 ] || break
	done
}

# tell TARGET SECONDS
tell() {
	local runs=$build/runs/$1
	printf '%-10s %6d s of CPU, %10d runs, coverage %6d, %5d inputs, %d findings\n' "$1" "$2" \
		"$(awk '/^stat::number_of_executed_units/ { n += $2 } END { print n + 0 }' "$runs/log")" \
		"$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$runs/log" | sort -n | tail -n 1)" \
		"$(find "$runs/new" -type f | wc -l)" "$(find "$runs/found" -type f ! -name 'slow-*' | wc -l)"
}

# keep TARGET: the fewest small inputs that reach all that was reached.
keep() {
	local runs=$build/runs/$1 kept=${corpus[$1]}
	rm -rf "$runs/least"
	mkdir -p "$runs/least"
	nice "$build/tests/fuzz_$1" -set_cover_merge=1 -timeout=600 -rss_limit_mb=3000 -artifact_prefix="$runs/found/" \
		"$runs/least" "$kept" "$runs/seeds" "$runs/new" >"$runs/merge.log" 2>&1 </dev/null ||
		return 0
	find "$kept" -type f -delete
	find "$runs/least" -type f -exec cp {} "$kept" \;
}

found=0
for target in "${targets[@]}"; do
	before=$(cpu)
	fuzz "$target"
	tell "$target" $(($(cpu) - before))
	found=$((found + $(find "$build/runs/$target/found" -type f ! -name 'slow-*' | wc -l)))
	[ "${THERMO_FUZZ_KEEP:-yes}" = no ] || keep "$target"
done
[ "$found" = 0 ]
