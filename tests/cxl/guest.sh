#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# guest.sh THERMO [CASE...]: `thermo topology` in a guest whose kernel has CXL and NVDIMM devices, in software. Cases:
# volatile gport pmem nvdimm hmat (default: all). QEMU, a kernel and the tools come as Debian packages into a folder
# (THERMO_GUEST, default ~/.cache/thermocline-guest; 370 MB); nothing is installed. One guest at a time, no KVM needed.
# Exits 77 when they cannot be had.
set -euo pipefail
cache=${THERMO_GUEST:-${XDG_CACHE_HOME:-$HOME/.cache}/thermocline-guest}
kernel=linux-image-6.12

skip() {
	printf 'guest.sh: skipped: %s\n' "$*"
	exit 77
}

[ $# -ge 1 ] && [ -x "$1" ] || {
	echo 'usage: guest.sh THERMO [CASE...]' >&2
	exit 2
}
thermo=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- volatile gport pmem nvdimm hmat

# ---- What is needed ----

# apt-get with lists and archives of its own: the machine's sources, with backports for QEMU 10.
own_apt() {
	local tool=$1
	shift
	"$tool" -q -o Dir::Etc::SourceList="$cache/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$cache/lists" -o Dir::Cache="$cache/apt" -o APT::Sandbox::User=root "$@"
}

fetch() {
	local mirror security package newest
	mkdir -p "$cache"/{lists/partial,apt/archives/partial,debs,tree}
	mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)
	security=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep security | head -n 1)
	[ -n "$mirror" ] || return 1
	{
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main"
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-backports main"
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${security:-$mirror-security} bookworm-security main"
	} >"$cache/sources.list"
	own_apt apt-get update || return 1
	own_apt apt-get install -y --download-only --no-install-recommends -t bookworm-backports qemu-system-x86 || return 1
	newest=$(own_apt apt-cache search --names-only "^$kernel.*deb12-amd64\$" | cut -d' ' -f1 | sort -V | tail -n 1)
	[ -n "$newest" ] || return 1
	(cd "$cache/debs" && for package in busybox-static kmod cpio ndctl daxctl libcxl1 libdaxctl1 libndctl6 \
		libkmod2 libiniparser1 libtraceevent1 libtracefs1 "$newest"; do
		own_apt apt-get download "$package" || exit 1
	done) || return 1
	for package in "$cache"/apt/archives/*.deb "$cache"/debs/*.deb; do dpkg-deb -x "$package" "$cache/tree" || return 1; done
	ln -sf ../bin/kmod "$cache/tree/sbin/depmod"
	ln -sf ../bin/kmod "$cache/tree/sbin/modprobe"
	touch "$cache/fetched"
}

# Copies a program of the tree, or of the machine, and the libraries that it needs into the guest.
install_program() {
	local library
	cp "$1" "$guest/bin/"
	LD_LIBRARY_PATH=$libraries ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
		mkdir -p "$guest${library%/*}"
		cp -Ln "$library" "$guest/lib/x86_64-linux-gnu/" 2>/dev/null || true
		case $library in /lib64/*) cp -Ln "$library" "$guest/lib64/" ;; esac
	done
}

# An initramfs with busybox, the modules, the tools, thermo, and init, which runs the case.
build_guest() {
	local module file
	guest=$(mktemp -d "$cache/guest.XXXXXX")
	mkdir -p "$guest"/{bin,sbin,proc,sys,dev,tmp,mnt,lib64,lib/x86_64-linux-gnu,lib/modules}
	cp "$cache/tree/bin/busybox" "$guest/bin/"
	install_program "$cache/tree/usr/bin/ndctl"
	install_program "$cache/tree/usr/bin/daxctl"
	install_program "$cache/tree/usr/bin/cxl"
	install_program "$thermo"
	[ -e "$cache/tree/lib/modules/$release/modules.dep.bin" ] ||
		"$cache/tree/sbin/depmod" -b "$cache/tree" "$release"
	for module in cxl_acpi cxl_pci cxl_mem cxl_pmem cxl_port dax_cxl device_dax dax_hmem kmem dax_pmem nd_pmem nfit \
		libnvdimm ext4 crc32c_generic; do
		"$cache/tree/sbin/modprobe" -d "$cache/tree" -S "$release" --show-depends "$module" 2>/dev/null || true
	done | awk '$1 == "insmod" { print $2 }' | sort -u | while read -r file; do
		module=${file#*/lib/modules/}
		mkdir -p "$guest/lib/modules/${module%/*}"
		case $file in
		*.xz) xz -dc "$file" >"$guest/lib/modules/${module%.xz}" ;;
		*) cp "$file" "$guest/lib/modules/$module" ;;
		esac
	done
	cp "$cache/tree/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$guest/lib/modules/$release/"
	"$cache/tree/sbin/depmod" -b "$guest" "$release"
	guest_init >"$guest/init"
	chmod +x "$guest/init"
	(cd "$guest" && find . | "$cache/tree/bin/cpio" -o -H newc --quiet -R 0:0 | gzip -1) >"$cache/initramfs.$$"
	rm -rf "$guest"
}

guest_init() {
	cat <<'T'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin LD_LIBRARY_PATH=/lib/x86_64-linux-gnu
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for m in libnvdimm nfit cxl_acpi cxl_port cxl_mem cxl_pci cxl_pmem dax_hmem device_dax dax_cxl dax_pmem nd_pmem crc32c_generic ext4; do
	modprobe $m 2>/dev/null
done
echo online_movable >/sys/devices/system/memory/auto_online_blocks
case=$(sed -n 's/.*case=\([a-z]*\).*/\1/p' /proc/cmdline)
bus=/sys/bus/cxl/devices
wait_for() { n=0; while [ $n -lt 40 ] && ! ls $1 >/dev/null 2>&1; do sleep .25; n=$((n + 1)); done; }
# A volatile region, by hand: the packaged cxl makes persistent ones only.
region() {
	wait_for "$bus/endpoint*"; sleep .5
	r=$(cat $bus/decoder0.0/create_ram_region); echo $r >$bus/decoder0.0/create_ram_region
	echo 256 >$bus/$r/interleave_granularity; echo 1 >$bus/$r/interleave_ways
	echo ram >$bus/decoder2.0/mode; echo 0x40000000 >$bus/decoder2.0/dpa_size; echo 0x40000000 >$bus/$r/size
	echo decoder2.0 >$bus/$r/target0; echo 1 >$bus/$r/commit; echo $r >/sys/bus/cxl/drivers/cxl_region/bind
	wait_for /sys/bus/dax/devices/dax0.0
	[ -e /sys/bus/dax/devices/dax0.0/driver ] || daxctl reconfigure-device -m devdax -f dax0.0
}
say() { echo "BEGIN $1"; thermo topology --json -; echo "rc $?"; echo END; }
{
case $case in
volatile)
	wait_for "$bus/endpoint*"; say before
	region; say devdax
	echo offline >/sys/devices/system/memory/auto_online_blocks
	modprobe kmem; daxctl reconfigure-device -N -m system-ram -f dax0.0; say offline
	daxctl online-memory dax0.0; say node ;;
gport) region; modprobe kmem; daxctl reconfigure-device -m system-ram -f dax0.0; say node ;;
pmem)
	wait_for "$bus/endpoint*"; sleep .5
	cxl create-region -t pmem -m -d decoder0.0 mem0; sleep .5
	ndctl create-namespace -m fsdax -s 384M; ndctl create-namespace -m devdax; say unmounted
	mknod /dev/pmem0 b $(tr : ' ' </sys/block/pmem0/dev) 2>/dev/null; mke2fs -b 4096 /dev/pmem0; mount -t ext4 -o dax=always /dev/pmem0 /mnt
	say mounted ;;
nvdimm)
	ndctl disable-region all; ndctl init-labels -f all; ndctl enable-region all
	ndctl create-namespace -m devdax -s 640M; say devdax ;;
hmat) say node ;;
esac
} 2>&1 | tr -d '\r'
poweroff -f
T
}

# ---- The machines ----

machine() {
	local cxl=(-object memory-backend-ram,id=dev,share=on,size=1G -device pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl.1
		-device cxl-rp,port=0,bus=cxl.1,id=rp0,chassis=0,slot=2 -M cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=4G)
	local dram=(-object memory-backend-ram,id=m0,size=1G)
	lb() {
		hmat+=(-numa "hmat-lb,initiator=0,target=$1,hierarchy=memory,data-type=access-latency,latency=$2"
			-numa "hmat-lb,initiator=0,target=$1,hierarchy=memory,data-type=access-bandwidth,bandwidth=$3")
	}
	local hmat=(-numa node,nodeid=0,memdev=m0,cpus=0-1,initiator=0)
	case $1 in
	volatile) args=(-M q35,cxl=on -m 1G,slots=4,maxmem=16G "${dram[@]}" -numa node,nodeid=0,memdev=m0,cpus=0-1 "${cxl[@]}"
		-device cxl-type3,bus=rp0,volatile-memdev=dev,id=d0,sn=0x1234) ;;
	pmem) args=(-M q35,cxl=on -m 1G,slots=4,maxmem=16G "${dram[@]}" -numa node,nodeid=0,memdev=m0,cpus=0-1 "${cxl[@]}"
		-object memory-backend-ram,id=lsa,share=on,size=1M
		-device cxl-type3,bus=rp0,persistent-memdev=dev,lsa=lsa,id=d0,sn=0x5678) ;;
	gport)
		hmat+=(-numa node,nodeid=1,initiator=0 -numa dist,src=0,dst=1,val=20)
		lb 0 80 100G
		lb 1 150 60G
		args=(-M q35,cxl=on,hmat=on -m 1G,slots=4,maxmem=16G "${dram[@]}" "${cxl[@]}"
			-object acpi-generic-port,id=gp0,pci-bus=cxl.1,node=1
			-device cxl-type3,bus=rp0,volatile-memdev=dev,id=d0,sn=0x1234 "${hmat[@]}")
		;;
	nvdimm)
		hmat+=(-numa node,nodeid=1,initiator=0 -numa dist,src=0,dst=1,val=20)
		lb 0 80 100G
		lb 1 250 30G
		args=(-M q35,nvdimm=on,hmat=on -m 1G,slots=4,maxmem=16G "${dram[@]}" "${hmat[@]}"
			-object memory-backend-ram,id=nv,share=on,size=1G
			-device nvdimm,memdev=nv,id=nvdimm0,label-size=1M,node=1)
		;;
	hmat)
		hmat+=(-numa node,nodeid=1,memdev=m1,initiator=0 -numa dist,src=0,dst=1,val=20)
		lb 0 80 100G
		lb 1 250 30G
		args=(-M q35,hmat=on -m 2G "${dram[@]}" -object memory-backend-ram,id=m1,size=1G "${hmat[@]}")
		;;
	*) return 1 ;;
	esac
}

boot() {
	local qemu=$cache/tree/usr/bin/qemu-system-x86_64 share=$cache/tree/usr/share
	LD_LIBRARY_PATH=$libraries timeout 300 nice -n 15 "$qemu" -L "$share/qemu" -L "$share/seabios" -accel tcg,thread=multi \
		-cpu max,-hypervisor,-erms,-fsrm -smp 2 -nodefaults -no-user-config -nographic -serial stdio -monitor none \
		-no-reboot -nic none "${args[@]}" -kernel "$cache/tree/boot/vmlinuz-$release" -initrd "$cache/initramfs.$$" \
		-append "console=ttyS0 quiet panic=-1 case=$1" </dev/null >"$cache/console.$1" 2>&1
}

# ---- What must be there ----

failed=0

# expect CASE STEP FILTER: jq's filter is true of what was printed at that step.
expect() {
	sed -n "s/\r//; /^BEGIN $2\$/,/^END\$/p" "$cache/console.$1" | sed '/^BEGIN/d; /^rc /d; /^END/d' >"$cache/json.$$"
	if [ -s "$cache/json.$$" ] && jq -e "$3" "$cache/json.$$" >/dev/null; then
		printf 'ok: %s, %s\n' "$1" "$2"
	else
		failed=1
		printf 'FAILED: %s, %s: %s\n' "$1" "$2" "$3"
		jq -c '.targets[]' "$cache/json.$$" || tail -n 20 "$cache/console.$1"
	fi
}

check() {
	case $1 in
	volatile)
		expect volatile before '.targets | any(.kind == "cxl-memdev" and .size_bytes == 1073741824 and (.usable | not))'
		expect volatile devdax '.targets | any(.kind == "devdax" and .medium == "cxl" and .usable and .warm == "dax:/dev/dax0.0" and (.persistent | not) and .size_bytes == 1073741824)'
		expect volatile offline '.targets | any(.kind == "system-ram" and (.usable | not) and (.reason | contains("online-memory dax0.0")))'
		expect volatile node '.targets | any(.kind == "node" and .medium == "cxl" and .node == 1 and .usable and .warm == "node:1" and .device == "dax0.0")'
		;;
	gport) expect gport node '.targets | any(.kind == "node" and .medium == "cxl" and .node == 2 and .usable and .latency_ns > 150 and .bandwidth_bytes_per_s > 0)' ;;
	pmem)
		expect pmem unmounted '.targets | any(.kind == "fsdax" and .persistent and (.usable | not) and (.reason | contains("dax=always")))'
		expect pmem mounted '.targets | any(.kind == "fsdax" and .usable and .warm == "pmem:/mnt/warm") and any(.kind == "devdax" and .medium == "cxl" and .persistent and .usable)'
		;;
	nvdimm) expect nvdimm devdax '.targets | any(.kind == "devdax" and .medium == "nvdimm" and .persistent and .usable) and any(.kind == "nvdimm-region" and (.usable | not))' ;;
	hmat) expect hmat node '.targets | any(.kind == "node" and .node == 1 and .usable and .latency_ns == 250 and .distance == 20) and any(.kind == "dram" and .latency_ns == 80)' ;;
	esac
}

command -v jq >/dev/null || skip "jq is missing"
command -v xz >/dev/null || skip "xz is missing"
[ -e "$cache/fetched" ] || fetch >"${TMPDIR:-/tmp}/thermo-guest-fetch.log" 2>&1 ||
	skip "QEMU, a kernel and the CXL tools cannot be fetched (${TMPDIR:-/tmp}/thermo-guest-fetch.log)"
libraries=$cache/tree/usr/lib/x86_64-linux-gnu:$cache/tree/lib/x86_64-linux-gnu
release=$(basename "$(ls -d "$cache"/tree/lib/modules/* | head -n 1)")
trap 'rm -rf "$cache/initramfs.$$" "$cache/json.$$" "$cache"/guest.*' EXIT
build_guest
for case in "$@"; do
	machine "$case" || {
		echo "guest.sh: no such case: $case" >&2
		exit 2
	}
	# QEMU 10.0 aborts now and then at boot, in iotlb_to_section: that alone is tried again.
	for try in 1 2 3; do
		boot "$case" || true
		grep -q 'iotlb_to_section: Assertion' "$cache/console.$case" || break
		echo "guest.sh: $case: QEMU aborted, try $try"
	done
	check "$case"
done
exit $failed
