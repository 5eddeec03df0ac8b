#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants one bug at a time and shows which check of the crash enumerator catches it.

Two kinds: what the program changes in its record of the disk (a sync left out, operations exchanged: --plant),
and what is patched into a copy of one source file, which is linked before the library.

usage: tests/crash/mutants.py BUILD_DIR [NAME...]      (from the source root; a minute or two each)

Ends with status 1 if a planted bug survives. Not part of the test run: what it tests are the tests.
"""
import os
import re
import subprocess
import sys
import tempfile

SECONDS = "60"
LIBS = ["-lcunit", "-luring", "-lpmem2", "-lnuma", "-lmemkind", "-lzstd", "-llz4", "-lxxhash", "-lpthread", "-lm"]
CRASH = ["crash", "check", "clock", "disk", "image", "model", "plant", "states", "workload"]

# In the record of the disk; the flags are those of the run.
PLANTS = [
    ("skip_segment_sync", []),
    ("skip_image_sync", []),
    ("skip_log_sync", ["--durable"]),
    ("skip_directory_sync", []),
    ("rename_before_sync", []),
    ("manifest_before_segment", []),
    ("image_after_table", []),
]

# name, file, what, with what, flags of the run
MUTANTS = [
    ("image_outlives_its_reading", "tiers/cache.c",
     "rc = image_save_table(c, false, error); if (rc == 0 && !atomic_load(&c->image_kept)) image_remove(c);", "rc = 0;", []),
    ("cache_spaces_kept_after_crash", "tiers/cache.c", "if (rc == 0 && !clean) rc = empty_cache_spaces",
     "if (rc == 0 && false) rc = empty_cache_spaces", []),
    ("file_number_used_again", "tiers/cold/cold.c",
     "atomic_store(&cold->next_number, cold->manifest.next_number);",
     "atomic_store(&cold->next_number, 1);", []),
    ("drop_not_recorded", "tiers/cold/erase.c",
     "status = set_reinstall(cold); if (status) { manifest->below[space] = old;",
     "status = 0; if (status) { manifest->below[space] = old;", []),
    ("image_without_tombstones", "tiers/image.c", "if (v.space != s->space) return;",
     "if (v.space != s->space || (v.flags & RECORD_TOMBSTONE)) return;", []),
    ("tombstones_go_early", "tiers/cold/compact.c", "if (set_may_hold(cold, set->runs[--i], point)) return false;",
     "if (set_may_hold(cold, set->runs[--i], point)) return true;", []),
    ("orphans_stay", "tiers/cold/cold.c", "return orphan ? file_unlink(&cold->dir, name) : 0;",
     "(void)orphan; return 0;", []),
    ("segment_unlinked_before_manifest", "tiers/cold/compact.c", "if (!status) status = set ? set_install(cold, set) : -ENOMEM;",
     """for (uint32_t u = 0; !status && u < job->n; u++) {
		char name[SEGMENT_NAME_BYTES];
		if (!job->inputs[u] || after.inputs[u])
			continue;
		cold_segment_name(job->inputs[u]->segment[0]->number, name);
		file_unlink(&cold->dir, name);
	}
	if (!status) status = set ? set_install(cold, set) : -ENOMEM;""", []),
    ("log_frame_crc_ignored", "tiers/cold/log_parse.c", "return crc == frame->crc ? 0 : -EILSEQ;",
     "(void)crc; return 0;", ["--durable"]),
    ("log_trimmed_early", "tiers/durable.c", "uint64_t least = needed(c);",
     "uint64_t least = UINT64_MAX; (void)needed;", ["--durable"]),
    ("log_not_synced", "tiers/cold/log.c", "int rc = file_sync_data(&log->file.file);", "int rc = 0;",
     ["--durable"]),
    ("log_removed_before_table", "tiers/cache.c", "rc = image_save_table(c, false, error); if (rc == 0 &&",
     "log_remove_all(c->log); rc = image_save_table(c, false, error); if (rc == 0 &&", ["--durable"]),
]


def patched(root, path, old, new):
    with open(path) as f:
        text = f.read()
    # However the formatter breaks the lines.
    pattern = re.compile(r"\s+".join(re.escape(word) for word in old.split()))
    if len(pattern.findall(text)) != 1:
        sys.exit(f"{path}: the text to change is there {len(pattern.findall(text))} times:\n{old}")
    out = os.path.join(root, os.path.basename(path))
    with open(out, "w") as f:
        f.write(pattern.sub(lambda _: new, text))
    return out


def build(root, build_dir, path, old, new):
    out = os.path.join(root, "crash")
    sources = [f"tests/crash/{name}.c" for name in CRASH]
    sources.append(patched(root, path, old, new))
    subprocess.run(["cc", "-std=gnu17", "-O2", "-D_GNU_SOURCE", "-fno-strict-aliasing", "-w",
                    '-DTHERMO_VERSION="0"', "-I.", "-Iinclude", *sources,
                    f"{build_dir}/libthermocline.a", *LIBS, "-o", out], check=True)
    return out


def how_caught(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode == 0:
        return None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "WRONG:" in line or "workload seed" in line]
    return lines[0] if lines else f"status {done.returncode}"


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build_dir, only = sys.argv[1], sys.argv[2:]
    survived = 0
    for name, flags in PLANTS:
        if only and name not in only:
            continue
        how = how_caught([f"{build_dir}/tests/crash/crash", "--seconds", SECONDS, "--every", "30", "--plant", name, *flags])
        print(f"{name}: {how or 'SURVIVED'}", flush=True)
        survived += not how
    for name, path, old, new, flags in MUTANTS:
        if only and name not in only:
            continue
        with tempfile.TemporaryDirectory() as root:
            how = how_caught([build(root, build_dir, path, old, new), "--seconds", SECONDS, "--every", "30", *flags])
        print(f"{name}: {how or 'SURVIVED'}", flush=True)
        survived += not how
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
