#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Bad input to the tools: each case gets one clear line, the right exit code, no crash, and damages
# nothing on disk. test_cli.sh THERMO SET_VERSION
set -u
# In a mount namespace of its own, where there may be one: for small and read-only file systems.
if [ -z "${THERMO_CLI_MOUNTS:-}" ]; then
	for space in "unshare --mount" "unshare --user --map-root-user --mount"; do
		# shellcheck disable=SC2086
		$space sh -c 'mount -t tmpfs tmpfs /mnt' 2>/dev/null || continue
		# shellcheck disable=SC2086
		THERMO_CLI_MOUNTS=yes exec $space "${BASH_SOURCE[0]}" "$@"
	done
	THERMO_CLI_MOUNTS=no
fi
if [ $# != 2 ] || [ ! -x "$1" ] || [ ! -x "$2" ]; then
	echo "usage: test_cli.sh THERMO SET_VERSION" >&2
	exit 2
fi
thermo=$(realpath "$1")
set_version=$(realpath "$2")
work=$(mktemp -d "${TMPDIR:-/var/tmp}/thermo-cli.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work" || exit 1
cases=0
failed=0

wrong() {
	failed=$((failed + 1))
	printf 'FAILED: %s\n' "$*"
	sed 's/^/    /' "$work/err"
}

# refused CODE PATTERN ARGUMENTS...: exits with CODE; its last line on stderr matches PATTERN and is the only
# one that begins as a complaint.
refused() {
	local code=$1 pattern=$2 got=0
	shift 2
	cases=$((cases + 1))
	"$thermo" "$@" >out 2>err </dev/null || got=$?
	if [ "$got" != "$code" ]; then
		wrong "thermo $*: exit code $got, not $code"
	elif ! tail -n 1 err | grep -Eq -- "$pattern"; then
		wrong "thermo $*: the complaint does not match /$pattern/"
	elif [ "$(grep -c '^thermo' err)" != 1 ]; then
		wrong "thermo $*: not exactly one complaint"
	fi
}

# works ARGUMENTS...: exits with 0.
works() {
	local got=0
	cases=$((cases + 1))
	"$thermo" "$@" >out 2>err </dev/null || got=$?
	[ "$got" = 0 ] || wrong "thermo $*: exit code $got"
}

# says PATTERN: what the last command printed holds it.
# sums DIRECTORY: of every file but the lock's, which an open may create.
sums() {
	find "$1" -type f ! -name LOCK -exec cksum {} + | sort
}

# intact DIRECTORY SUMS
intact() {
	cases=$((cases + 1))
	[ "$2" = "$(sums "$1")" ] || wrong "$1 was changed"
}

says() {
	cases=$((cases + 1))
	grep -Eq -- "$1" out || wrong "the output lacks /$1/"
}

small=(--dram 64M --progress none)
printf 'time,key,size,op\n1,5,100,get\n2,6,200,set\n3,5,100,get\n4,6,0,del\n' >good.csv

# Words
works --version
says '^thermo [0-9]+\.[0-9]+\.[0-9]+'
works --help
for command in replay demo bench inspect repair topology; do
	works "$command" --help
	says "thermo $command"
	refused 2 'unknown option --no-such-thing' "$command" --no-such-thing
done
refused 2 "unknown command 'reply'" reply
cases=$((cases + 1))
"$thermo" >out 2>err </dev/null
[ $? = 2 ] || wrong "thermo alone: not exit code 2"
refused 2 'which trace' replay
refused 2 'left over' replay good.csv other.csv
refused 2 'needs a value' replay good.csv --dram
refused 2 'unknown option -z' replay good.csv -z

# Sizes and numbers that do not parse or do not fit
for size in '' 12Q -5 1.5 64MM ' 64M' 0x40; do
	refused 2 'is not a size' replay good.csv "--dram=$size"
done
refused 2 'more than can be counted' replay good.csv --dram 99999999999T
refused 2 'cannot be empty' replay good.csv --dram 0
refused 2 'is not a size' replay good.csv --warm x@emulate:250
refused 2 'is no provider' replay good.csv --warm 64M@tape
refused 2 'holds nothing' replay good.csv --cold dir:0
refused 2 'from 1 to' replay good.csv --threads 0
refused 2 'from 1 to' replay good.csv --threads 1000000
refused 2 'from 1 to' replay good.csv --threads two
refused 2 'from 1 to 64' replay good.csv --batch 65
refused 2 'at least 1' replay good.csv --limit 0
refused 2 'not s3fifo' replay good.csv --policy mru
refused 2 'not auto' replay good.csv --io fast
refused 2 'not auto' replay good.csv --format xls
refused 2 'not auto' replay good.csv --progress loud
refused 2 'is not a size' replay good.csv --value-size big
refused 2 'is not a size' replay good.csv --value-size 257M
refused 2 "'5.6' is not a size" replay good.csv --value-size $'5\n6' # quoted in one line all the same
refused 2 'needs --verify' replay good.csv --reopen
refused 2 'has no --cold' replay good.csv --objects --cold dir
refused 2 'no bytes' replay good.csv --objects --verify
refused 2 'no provider' replay good.csv --objects --warm 5@emulate:250
refused 2 'percentage' demo --scale 0
refused 2 'not a number' demo --seed x

# Files
refused 1 'nowhere.csv: No such file' replay nowhere.csv "${small[@]}"
refused 1 'directory' replay . "${small[@]}"
refused 1 'No such file' replay good.csv "${small[@]}" --value-size dist:nowhere.json
printf '{"valSizeRange":[1],' >cut.json
refused 1 'cut.json: line 1 is not JSON' replay good.csv "${small[@]}" --value-size dist:cut.json
refused 1 'nowhere/out.json: No such file' replay good.csv "${small[@]}" --json nowhere/out.json
refused 1 'No such file' demo --dir nowhere

# Traces
printf 'time,key,size,op\n1,5,100,get\n2,6,abc,get\n' >bad.csv
refused 1 'bad.csv:3: size' replay bad.csv "${small[@]}"
printf 'time,key,size,op\n1,5,100,get\n2,6,100,fetch\n' >op.csv
refused 1 'op.csv:3: op .fetch' replay op.csv "${small[@]}"
printf 'time,key,size,op\n1,5\n' >short.csv
refused 1 'short.csv:2: 2 fields' replay short.csv "${small[@]}"
: >empty.csv
refused 1 'empty.csv' replay empty.csv "${small[@]}"
refused 1 'bad.csv.*3' replay bad.csv --objects --dram 10 --progress none
head -c 100 /dev/zero >cut.oracle
refused 1 'cut.oracle: record 4 .byte 96.: cut off after 4 of 24 bytes' replay cut.oracle --format oracle "${small[@]}"
printf '1,abc,22,304\n' >bad.twitter
refused 1 'bad.twitter:1: 4 fields' replay bad.twitter --format twitter "${small[@]}"
printf '%s\n' op_time,key,key_size,op,op_count,size,cache_hits,ttl,usecase,sub_usecase \
	1,a,48,GET,x,87,1,0,3,3 >bad.kv
refused 1 'bad.kv:2: op_count' replay bad.kv "${small[@]}"
if command -v zstd >/dev/null; then
	seq 1 100000 | timeout 600 awk 'BEGIN { print "time,key,size,op" } { print $1 "," $1 ",10,get" }' |
		zstd -q >whole.csv.zst
	head -c 50000 whole.csv.zst >cut.csv.zst
	refused 1 'cut.csv.zst' replay cut.csv.zst "${small[@]}"
fi

# What works, beside it
works replay good.csv "${small[@]}" --verify --json -
says '"misses":'
works replay good.csv --objects --dram 10 --warm 10 --json - --progress none
says '"requests":3,"misses":2'
works replay good.csv "${small[@]}" --limit 2
works replay good.csv "${small[@]}" --batch 8 --threads 2 --verify
works replay good.csv "${small[@]}" --json report.json
cases=$((cases + 1))
grep -q '"requests":4' report.json || wrong "report.json does not hold the report"

# Tiers that cannot be
refused 1 'dram' replay good.csv --dram 4K --progress none
refused 1 'node' replay good.csv "${small[@]}" --warm 64M@node:999
refused 1 '.' replay good.csv "${small[@]}" --warm 64M@file:/nonexistent/warm
refused 1 'nowhere' replay good.csv "${small[@]}" --cold nowhere/deeper
: >file
refused 1 'file' replay good.csv "${small[@]}" --cold file
refused 1 '.' replay good.csv --dram 8000000G --progress none
refused 1 'warm: .* below the least' replay good.csv "${small[@]}" --warm 1M
refused 1 'do not fit' replay good.csv "${small[@]}" --warm 8000000G
refused 2 'sizes a policy|not a size|below' replay good.csv --objects --dram -1
if [ "$(id -u)" != 0 ]; then
	mkdir sealed && chmod 500 sealed
	refused 1 'sealed/LOCK.*Permission denied.*must be able to write' replay good.csv "${small[@]}" --cold sealed
fi

# A cold directory: in use, then damaged
seq 1 60000 | awk 'BEGIN { print "time,key,size,op" } { print $1 "," $1 ",900,set" }' >fill.csv
mkdir cold
works replay fill.csv --dram 32M --cold cold --progress none --verify --reopen
works inspect cold
works inspect cold --verify --json -
says '\{'

# A node without memory, and one without any left, as the kernel would tell of them
if [ "$THERMO_CLI_MOUNTS" = yes ] && [ -d /sys/devices/system/node/node0 ]; then
	mkdir -p nodes/node0 nodes/node1
	cp /sys/devices/system/node/node0/meminfo nodes/node0
	sed -e 's/Node 0/Node 1/' -e 's/[0-9]* kB/0 kB/' nodes/node0/meminfo >nodes/node1/meminfo
	echo 0-1 >nodes/online
	echo 0 >nodes/has_memory
	mount --bind nodes /sys/devices/system/node
	refused 1 'node:1: this NUMA node has no memory .*numactl -H' replay good.csv "${small[@]}" --warm 64M@node:1
	echo 0-1 >nodes/has_memory
	refused 1 'node:1: this NUMA node has no free memory' replay good.csv "${small[@]}" --warm 64M@node:1
	umount /sys/devices/system/node
else
	echo "skipped: a node without memory: nothing can be mounted here"
fi

# A directory that may not be written, with something in it: by its file system, by its own flag
if [ "$THERMO_CLI_MOUNTS" = yes ]; then
	cp -r cold frozen
	mount --bind frozen frozen && mount -o remount,ro,bind frozen
	before=$(sums frozen)
	refused 1 'frozen/LOCK.*Read-only file system.*must be able to write' replay good.csv "${small[@]}" --cold frozen
	works inspect frozen --verify
	intact frozen "$before"
	umount frozen
else
	echo "skipped: read-only and full file systems: nothing can be mounted here"
fi
mkdir fixed
if chattr +i fixed 2>/dev/null; then
	refused 1 'fixed/LOCK.*not permitted.*must be able to write' replay good.csv "${small[@]}" --cold fixed
	chattr -i fixed
else
	echo "skipped: a directory that is immutable: chattr does not work here"
fi

# No room on the device, for the tier's files and for what is kept at the end; what was written stays whole
works replay good.csv --dram 24M --cold probe --progress none
mib=$(awk '$1 == "hot" { printf "%d", $(NF - 1) }' out) # of DRAM for records; a device of one more is full soon after
head -n $(((mib + 1) * 1165 + 1200)) fill.csv >more.csv
no_room() {
	refused 1 "memory.img: $2; what was in memory is lost" replay more.csv --dram 24M --cold "$1" --progress none
	says "$3"
	works inspect "$1" --verify
}
if [ "$THERMO_CLI_MOUNTS" = yes ]; then
	mkdir full
	mount -t tmpfs -o size=1m tmpfs full
	no_room full/cold 'No space left on device' ' [1-9][0-9,]* no space'
	works replay good.csv "${small[@]}" --cold full/cold
	umount full
fi
(
	failed=0
	ulimit -f 600
	no_room limited 'File too large' '^put'
	[ "$failed" = 0 ]
) || failed=$((failed + 1))

# The holder reads a pipe that stays open, so it holds the directory until the pipe is closed.
mkfifo pipe
works replay good.csv "${small[@]}" --cold used
"$thermo" replay pipe "${small[@]}" --format csv --cold used >holder.out 2>&1 &
holder=$!
exec 8<>pipe
seq 1 100000 | timeout 600 awk 'BEGIN { print "time,key,size,op" } { print $1 "," $1 % 100 ",5,get" }' >&8 &
writer=$!
for _ in $(seq 1 300); do
	ls -l "/proc/$holder/fd" 2>/dev/null | grep -q 'used/LOCK' && break
	sleep 0.1
done
# It has read nearly all of that, so it has opened, and waits for more.
wait "$writer"
before=$(find used -type f -exec cksum {} + | sort)
refused 1 'in use|another process' replay good.csv "${small[@]}" --cold used
refused 1 'in use' repair used
works inspect used
cases=$((cases + 1))
[ "$before" = "$(find used -type f -exec cksum {} + | sort)" ] ||
	wrong "a directory in use was changed by the second process"
exec 8>&-
cases=$((cases + 1))
wait "$holder" || wrong "the process that held the directory failed: $(cat holder.out)"

refused 1 'nowhere' inspect nowhere
mkdir bare
refused 1 'bare' inspect bare
refused 2 'directory' inspect
refused 2 'left over|one directory' inspect cold bare

# Topology
works topology
says 'The warm tier can use'
works topology --json -
says '"targets"'
works topology --root /
mkdir -p machine/proc
printf 'MemTotal: 1048576 kB\nMemAvailable: 524288 kB\n' >machine/proc/meminfo
works topology --root machine
says 'the machine is taken for one node'
refused 1 'nowhere: No such' topology --root nowhere
refused 1 'good.csv: Not a directory' topology --root good.csv
refused 2 'which directory' topology --root ''
refused 2 'left over' topology here
refused 1 'No such' topology --json nowhere/report

# Damage: each is refused in one line, is seen by inspect, and leaves the directory as it is
damaged() {
	local pattern=$1 before
	before=$(sums hurt)
	refused 1 "$pattern" inspect hurt --verify
	refused 1 "$pattern" replay good.csv "${small[@]}" --cold hurt
	intact hurt "$before"
}

# flip FILE OFFSET: inverts a byte.
flip() {
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059
	printf "\\$(printf '%03o' $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

again() {
	rm -rf hurt
	cp -r cold hurt
	run=$(find hurt -name '*.seg' | sort | tail -n 1)
}

again
cases=$((cases + 1))
[ -n "$run" ] || wrong "the cold directory holds no run: nothing to damage"
if [ -n "$run" ]; then
	size=$(stat -c %s "$run")
	flip "$run" $((size - 4096)) # the footer
	damaged 'seg.*footer'
	again
	"$set_version" hurt segment 99
	damaged 'seg.*version.*open it with the version that wrote it'
	again
	"$set_version" hurt manifest 99
	damaged 'MANIFEST.*version.*open it with the version that wrote it'
	again
	"$set_version" hurt segment 1 # nothing wrong with that
	works inspect hurt --verify
	again
	truncate -s $((size - 4096)) "$run"
	damaged 'seg.*length'
	again
	rm "$run"
	damaged 'seg.*missing'
	again
	flip hurt/MANIFEST 30
	damaged 'MANIFEST'
	again
	truncate -s 10 hurt/MANIFEST
	damaged 'MANIFEST'
	again
	rm hurt/MANIFEST
	damaged 'MANIFEST'
	again
	flip "$run" 200 # a block: found when it is read, or by inspect
	refused 1 'seg.*(block|records).*damaged' inspect hurt --verify
	before=$(find hurt -type f ! -name LOCK -exec cksum {} + | sort)
	works repair hurt --dry-run
	says 'can be salvaged'
	cases=$((cases + 1))
	[ "$before" = "$(find hurt -type f ! -name LOCK -exec cksum {} + | sort)" ] ||
		wrong "a dry run of repair changed the directory"
	works repair hurt
	says '1 damaged'
	works inspect hurt --verify
	says 'hole:'
	works replay good.csv "${small[@]}" --cold hurt
	again
	rm "$run"
	works repair hurt
	says '1 of them missing'
	works repair hurt
	says 'nothing to do'
	again
	flip hurt/MANIFEST 30
	refused 1 'MANIFEST' repair hurt
	again
	if [ -f hurt/memory.img ]; then
		flip hurt/memory.img 5000
		refused 1 'memory.img' inspect hurt --verify
	fi
fi
refused 1 'nowhere' repair nowhere/at/all
refused 2 'directory' repair

printf '%d cases, %d failed\n' "$cases" "$failed"
[ "$failed" = 0 ]
