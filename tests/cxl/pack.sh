#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# pack.sh [ROOT]: what discovery reads of ROOT/sys and ROOT/proc (default: this machine) as one text on stdout, to
# make a fixture of, or to send to somebody. One entry a line, paths without blanks:
#   d PATH            a folder
#   l PATH TARGET     a link
#   f PATH CONTENT    a file; newlines as \n, backslashes as \\
set -u
root=${1:-}
cd "${root:-/}" || exit 1

file() {
	local content
	[ -f "$1" ] && content=$(head -c 4096 "$1" 2>/dev/null; printf x) || return 0
	content=${content%x}
	content=${content//\\/\\\\}
	content=${content//$'\n'/\\n}
	printf 'f /%s %s\n' "$1" "$content"
}

files() {
	local path
	for path in "$@"; do file "$path"; done
}

links() {
	local path
	for path in "$@"; do
		[ -L "$path" ] && printf 'l /%s %s\n' "$path" "$(readlink "$path")"
	done
}

# Attributes of the devices of one bus, at the place that the link leads to, which the link alone does not show.
attributes() {
	local device=$1 place name
	shift
	[ -e "$device" ] || return 0
	place=$(realpath --relative-to=. "$device")
	for name in "$@"; do file "$place/$name"; done
	links "$place/driver" "$place/uport"
}

shopt -s nullglob
pack() {
	node=sys/devices/system/node
	files $node/online $node/has_cpu
	for n in $node/node[0-9]*; do
		files "$n"/cpulist "$n"/distance "$n"/access[01]/initiators/*_latency "$n"/access[01]/initiators/*_bandwidth
		files "$n"/memory_side_cache/index*/size
		[ -f "$n/meminfo" ] && printf 'f /%s %s\n' "$n/meminfo" "$(grep -E \
			'MemTotal:|MemFree:|Active\(file\):|Inactive\(file\):|SReclaimable:' "$n/meminfo" | sed 's/  */ /g; s/$/\\n/' | tr -d '\n')"
	done
	files sys/devices/system/memory/block_size_bytes sys/kernel/mm/numa/demotion_enabled
	files sys/devices/virtual/memory_tiering/memory_tier*/nodelist sys/kernel/mm/mempolicy/weighted_interleave/node*

	cxl=sys/bus/cxl/devices
	for d in $cxl/{mem,region,endpoint,root}[0-9]*; do
		links "$d"
		attributes "$d" ram/size pmem/size serial size resource mode interleave_ways interleave_granularity commit \
			access{0,1}/{read,write}_{latency,bandwidth}
	done
	for d in $cxl/region[0-9]*; do attributes "$d" "dax_${d##*/}/dax_region/available_size"; done
	for d in $cxl/endpoint[0-9]*/decoder*; do attributes "$d" dpa_size mode region; done
	for d in $cxl/root[0-9]*/decoder*; do attributes "$d" size cap_ram cap_pmem; done

	links sys/bus/dax/devices/dax* sys/bus/dax/drivers/{device_dax,kmem}/dax*
	for d in sys/bus/dax/devices/dax*; do attributes "$d" size target_node; done

	nd=sys/bus/nd/devices
	links $nd/{ndbus,nmem,region,namespace,pfn,btt,dax}[0-9]*
	for d in $nd/ndbus*; do attributes "$d" provider; done
	for d in $nd/nmem*; do attributes "$d" state nfit/flags security; done
	for d in $nd/region*; do attributes "$d" size available_size resource persistence_domain badblocks read_only; done
	for d in $nd/namespace*; do attributes "$d" size mode holder target_node; done
	for d in $nd/{pfn,namespace}*; do for b in "$d"/block/pmem*; do attributes "$d" "block/${b##*/}/size"; done; done

	# Firmware may have made system RAM of a region: which node has the block where it begins.
	if [ -r sys/devices/system/memory/block_size_bytes ]; then
		block=$((16#$(cat sys/devices/system/memory/block_size_bytes)))
		for d in $cxl/region[0-9]*; do
			start=$(cat "$d/resource" 2>/dev/null) || continue
			for n in sys/devices/system/memory/memory$((start / block))/node*; do printf 'd /%s\n' "$n"; done
		done
	fi
	[ ! -r proc/self/mountinfo ] || printf 'f /proc/self/mountinfo %s\n' "$(grep ' /dev/pmem' proc/self/mountinfo | sed 's/\\/\\\\/g; s/$/\\n/' | tr -d '\n')"
}
pack | awk '!seen[$0]++'
