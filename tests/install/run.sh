#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a user of the installed library meets: run.sh SOURCE-ROOT BUILD-ROOT SANITIZER
# Installs into an empty folder, builds a program with pkg-config's flags alone, looks at what the
# library exports and pulls in, and loads it from Python.
set -euo pipefail
source_root=$1
build_root=$2
[ "$3" = none ] || {
	echo "a library with sanitizers is not what is installed: skipped"
	exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

wrong() {
	printf 'install: %s\n' "$*" >&2
	failed=1
}

DESTDIR=$work meson install -C "$build_root" --no-rebuild --quiet >/dev/null
pc=$(find "$work" -name thermocline.pc)
[ -n "$pc" ] || {
	wrong "no thermocline.pc was installed"
	exit 1
}
export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$work
library=$(find "$work" -name 'libthermocline.so' | head -n 1)
libraries=${library%/*}
[ -e "$library" ] || wrong "no libthermocline.so was installed"
[ -e "$libraries/libthermocline.a" ] || wrong "no libthermocline.a was installed"

# The program, against the shared library.
read -ra flags < <(pkg-config --cflags --libs thermocline)
"${CC:-cc}" -Wall -Wextra -Werror -o "$work/first" "$source_root/tests/install/first.c" "${flags[@]}"
said=$(LD_LIBRARY_PATH=$libraries "$work/first" 2>"$work/said") || {
	cat "$work/said" >&2
	wrong "the first program failed"
}
[ "$said" = "liked 42" ] || wrong "the first program said '$said'"
# The same with the archive, and the libraries that thermocline.pc says it needs, shared. (pkg-config --static
# would want the libraries that those were made of, too.)
read -ra needed < <(pkg-config --print-requires-private thermocline | sed 's/ .*//' | xargs pkg-config --libs)
read -ra flags_static < <(pkg-config --cflags --libs thermocline)
flags_static+=("${needed[@]}" -pthread -lm)
if "${CC:-cc}" -Wall -Wextra -Werror -o "$work/first_static" "$source_root/tests/install/first.c" \
	"${flags_static[@]/-lthermocline/-l:libthermocline.a}"; then
	said=$("$work/first_static" 2>/dev/null) || wrong "the first program failed with the archive"
	[ "$said" = "liked 42" ] || wrong "the first program said '$said' with the archive"
else
	wrong "the first program cannot be linked with the archive and what thermocline.pc names"
fi

# The header and nothing else of ours, usable from C++ too when there is a compiler.
headers=$(find "$work" -path '*/include/*' -type f | wc -l)
[ "$headers" = 1 ] || wrong "$headers headers were installed, only thermocline.h is public"
if command -v c++ >/dev/null; then
	echo '#include <thermocline.h>' | c++ -Wall -Wextra -Werror -fsyntax-only -x c++ "${flags[@]}" - ||
		wrong "the header does not compile as C++"
fi

# Exports: thermo_* and the version's name, nothing else.
foreign=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sed 's/@.*//' |
	grep -v -e '^thermo_' -e '^THERMOCLINE_' || true)
[ -z "$foreign" ] || wrong "exports more than thermo_*: $foreign"
nm -D --defined-only "$library" | grep -q ' thermo_open' || wrong "does not export thermo_open"
declared=$(grep -o 'thermo_[a-z_]*(' "$source_root/include/thermocline.h" | tr -d '(' | sort -u)
for name in $declared; do
	nm -D --defined-only "$library" | grep -q " $name\(@\|\$\)" || wrong "declares $name, does not export it"
done

# Nothing that it needs, directly or not, replaces the host's malloc.
LD_LIBRARY_PATH=$libraries ldd "$library" >"$work/needed"
if grep -i -e jemalloc -e tcmalloc -e mimalloc "$work/needed"; then
	wrong "pulls an allocator into its host"
fi
! grep 'not found' "$work/needed" || wrong "needs a library that is not there"
# No static thread-local storage: it can be loaded late, by a host that has used its own up.
if readelf -d "$library" | grep STATIC_TLS; then
	wrong "uses initial-exec TLS"
fi

# A host that loads it while running.
if command -v python3 >/dev/null; then
	LD_LIBRARY_PATH=$libraries python3 - "$library" <<'P' || wrong "cannot be loaded from Python"
import ctypes, sys
malloc = lambda: ctypes.cast(ctypes.CDLL(None).malloc, ctypes.c_void_p).value
before = malloc()
library = ctypes.CDLL(sys.argv[1])
assert malloc() == before, "the host's malloc is another one now"
library.thermo_version.restype = ctypes.c_char_p
assert library.thermo_version(), "no version"
options = ctypes.create_string_buffer(4096)
library.thermo_options_init(options)
cache, error = ctypes.c_void_p(), ctypes.create_string_buffer(256)
assert library.thermo_open(options, ctypes.byref(cache), error) == 0, error.value
space = ctypes.c_void_p()
assert library.thermo_space_open(cache, b"python", None, ctypes.byref(space), error) == 0, error.value
value, length = ctypes.create_string_buffer(16), ctypes.c_size_t()
library.thermo_put.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
                               ctypes.c_size_t, ctypes.c_int64]
assert library.thermo_put(space, b"key", 3, b"value", 5, -1) == 0
assert library.thermo_get(space, b"key", ctypes.c_size_t(3), value, ctypes.c_size_t(16),
                          ctypes.byref(length)) == 0
assert value.raw[:length.value] == b"value", value.raw
with open("/proc/self/maps") as maps:
    mapped = maps.read()
assert "libthermocline" in mapped and "jemalloc" not in mapped, "libjemalloc came with it"
assert library.thermo_close(ctypes.byref(cache), ctypes.c_int64(0), error) == 0, error.value
P
fi

# The tools' pages are there.
for page in thermo thermo-replay thermo-demo thermo-inspect; do
	find "$work" -name "$page.1*" | grep -q . || wrong "no man page $page(1)"
done
[ "$failed" = 0 ]
