#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `thermo bench` as a person calls it: wrong options, small runs, reports. Argument: the program.
set -u
thermo=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0 cases=0

wrong() {
	printf 'FAILED %s\n' "$*" >&2
	sed 's/^/    /' out err | head -20 >&2
	failures=$((failures + 1))
}

# refused CODE PATTERN ARGS...: that exit code, nothing on stdout, one line on stderr that matches.
refused() {
	local code=$1 pattern=$2 got
	shift 2
	cases=$((cases + 1))
	timeout 600 "$thermo" bench "$@" >out 2>err </dev/null
	got=$?
	[ "$got" = "$code" ] || wrong "thermo bench $*: exit code $got, not $code"
	[ ! -s out ] || wrong "thermo bench $*: something on stdout"
	grep -Eq -- "$pattern" err || wrong "thermo bench $*: no line like /$pattern/"
	[ "$(wc -l <err)" = 1 ] || wrong "thermo bench $*: not one line"
}

works() {
	local got
	cases=$((cases + 1))
	timeout 600 "$thermo" bench "$@" >out 2>err </dev/null
	got=$?
	[ "$got" = 0 ] || wrong "thermo bench $*: exit code $got"
}

says() {
	cases=$((cases + 1))
	grep -Eq -- "$1" out || wrong "the output lacks /$1/"
}

says_not() {
	cases=$((cases + 1))
	! grep -Eq -- "$1" out || wrong "the output has /$1/"
}

tiny=(--keys 2000 --ops 20000 --rounds 2)

refused 2 'from 1 to 4294967295' --keys 0
refused 2 'no 300 different keys' --keys 300 --key-size 1
refused 2 'from 1 to 1024' --key-size 1025
refused 2 'is not N or MIN-MAX' --value-size 5-2
refused 2 'is not N or MIN-MAX' --value-size 1T
refused 2 'is not N or MIN-MAX' --value-size -
refused 2 'not a number from 0 to 10' --zipf nan
refused 2 'not a number from 0 to 10' --zipf 0.9x
refused 2 'from 0 to 100' --get-put 101
refused 2 'from 1 to 64' --batch 65
refused 2 'from 1 to 64' --rounds 0
refused 2 'none of rocksdb, lmdb, memcached, redis' --peer oracle
refused 2 'once is enough' --peer lmdb --peer lmdb
refused 2 'needs --dram' --churn 5
refused 2 'are about the cache' --fill-only --no-cache
refused 2 'nothing is left to run' --no-cache --no-floor
refused 2 'has no part' --fill-only --peer lmdb
refused 2 'needs --warm and --cold' --busy --cold "$work/cold"
refused 2 'have no part' --busy --churn 5 --dram 64M
refused 2 'at least' --busy --warm 64M --cold "$work/cold" --keys 9999
refused 2 'is not an option' fast
refused 2 'needs a value' --keys
refused 1 'No such file' "${tiny[@]}" --json "$work/no/such/file"
refused 1 'below the least' "${tiny[@]}" --no-floor --dram 1K

works "${tiny[@]}"
says '^floor .* 1\.000 .*100\.00%'
says '^thermocline .*100\.00%'
says '^memory: 2000 records'
works "${tiny[@]}" --batch 32 --get-put 50 --threads 2
says 'batches of 32'
says '^  puts'
works "${tiny[@]}" --value-size 10-3000 --uniform
says_not '^floor '
works "${tiny[@]}" --no-cache
says_not '^thermocline '
works "${tiny[@]}" --fill-only
says 'mean [0-9.-]+, worst [0-9.-]+'
works "${tiny[@]}" --seconds 0.02 --json -
says '"ratio_to_floor":'
says '"p999":'
says_not '^memory:'
works "${tiny[@]}" --json report
says '^floor '
cases=$((cases + 1))
grep -q '"store":' report || wrong "the report lacks its stores"
THERMO_PEER_DIR=$work works "${tiny[@]}" --peer redis
says '^peer redis: .* was not built'
works "${tiny[@]}" --dram 64M --warm 64M --cold "$work/cold" --keys 90000 \
	--value-size 2K --ops 2000 --uniform
says 'cold hits'
says 'point reads a cold hit'
works --churn 2 --dram 32M --keys 50000
says 'resident memory was at most (0\.[0-9]+|1\.0[0-4][0-9]*) of the caps'
says ' 0 wrong values'
busy=(--busy --seconds 0.3 --rounds 2 --keys 50000 --dram 24M --warm 32M@dram --cold "$work/busy")
works "${busy[@]}"
says '^busy / idle .*medians of 2 ratios'
says '^index buckets split '
says ' 0 misses, 0 wrong values'
works "${busy[@]}" --json -
says '"busy_to_idle":'
says '"compaction_write_bytes":'
says_not '^gets of hot keys'

printf 'bench: %d cases, %d failed\n' "$cases" "$failures"
[ "$failures" = 0 ]
