#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The long run of the crash enumerator: at least STATES distinct states, over as many processes as there are CPUs,
# each with seeds of its own; states are distinct over all processes.
#
# usage: tests/crash.sh BUILD_DIR [STATES [FIRST_SEED [--durable]]]
set -u
build=${1:?build directory}
states=${2:-100000}
seed=${3:-1}
shift $(( $# > 3 ? 3 : $# ))
n=$(nproc)
each=$(( (states + n - 1) / n + states / 50 )) # some are met by two processes
out=$(mktemp -d)
trap 'rm -r "$out"' EXIT
i=0
while [ "$i" -lt "$n" ]; do
	( "$build/tests/crash/crash" --seed $(( seed + i * 1000000 )) --states "$each" --hashes "$out/$i.hashes" "$@" \
		>"$out/$i" 2>&1
	  echo $? >"$out/$i.rc" ) &
	i=$(( i + 1 ))
done
wait
cat "$out"/[0-9] "$out"/[0-9][0-9] 2>/dev/null
sum=$(sort -u "$out"/*.hashes | wc -l)
bad=$(cat "$out"/*.rc | grep -cv '^0$')
echo "crash.sh: $sum distinct states, $bad of $n processes found something wrong"
[ "$bad" -eq 0 ] && [ "$sum" -ge "$states" ]
