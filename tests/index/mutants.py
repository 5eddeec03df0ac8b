#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants one bug at a time into a copy of index/ and shows which test catches it; everything is built
with chaos.h, which draws the windows of races out.

usage: tests/index/mutants.py BUILD_DIR [NAME...]      (from the source root; about a minute a dozen)

Ends with status 1 if a planted bug survives. Not part of the test run: what it tests are the tests.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ANNOUNCE = """		/* Others add to the view's upper bits meanwhile. */
		atomic_fetch_add_explicit(&ix->view,
					  view_of(buckets + 1) - view_of(buckets),
					  memory_order_acq_rel);
"""
REMOVE = "		remove_movers(ix, source, target);\n"
LINK = """	atomic_store_explicit(&last->entry[CHAIN_SLOT], (uint64_t)(more - ix->overflow),
			      memory_order_release);
"""
COPY = """	entry_put(more, 0, entry_load(last, CHAIN_SLOT),
		  atomic_load_explicit(&last->counter[CHAIN_SLOT], memory_order_relaxed));
"""
BUMP = "	atomic_fetch_add_explicit(&ix->view, VIEW_PULLED, memory_order_acq_rel);\n"

# name, file, what, with what, tests that may catch it
MUTANTS = [
    ("remove_before_announce", "index.c", ANNOUNCE + REMOVE, REMOVE + ANNOUNCE, ["stress"]),
    ("split_without_lock", "index.c", "	bucket_lock(source);\n", "", ["stress"]),
    ("lock_without_second_look", "index.h",
     "		if (__builtin_expect(index_home(ix, index_view(ix), hash) == home, 1))\n", "",
     ["stress"]),
    ("pull_home_without_view", "chain.c", BUMP, "", ["stress"]),
    ("cut_before_pull_home", "chain.c", "		copy_home(home, b);\n" + "", "		(void)b;\n",
     ["unit", "stress"]),
    ("link_before_copy", "chain.c", COPY,
     LINK.replace("last->entry", "last->entry") + "	__builtin_ia32_pause();\n" + COPY
     .replace("entry_load(last, CHAIN_SLOT)", "was"), ["stress"]),
    ("counter_left_behind", "index.c",
     "atomic_load_explicit(&b->counter[i], memory_order_relaxed), &at)", "0, &at)",
     ["unit", "stress"]),
    ("epoch_not_waited_for", "epoch.c", "	if (upto >= number)\n", "	if (number)\n",
     ["epoch", "stress"]),
    ("epoch_exit_at_inner", "epoch.h", "	if (--slot->depth == 0)\n", "	--slot->depth;\n",
     ["epoch", "stress"]),
    ("epoch_never_entered", "epoch.h",
     "	atomic_store_explicit(&slot->entered, now, memory_order_release);\n", "	(void)now;\n",
     ["epoch", "stress"]),
    ("no_membarrier", "epoch.c", "		if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)\n",
     "		if (have_membarrier)\n", ["epoch", "stress"]),
    ("shared_readers_forgotten", "epoch.c", "	if (atomic_load(&shared_readers))\n		return 0;\n",
     "", ["epoch"]),
    ("tag_without_its_one", "index.h", "(INDEX_TAG_SHIFT - INDEX_TAG_HASH_SHIFT) | INDEX_ENTRY;",
     "(INDEX_TAG_SHIFT - INDEX_TAG_HASH_SHIFT);", ["unit"]),
    ("place_of_anything", "index.h", "if (__builtin_expect(!(entry & INDEX_ENTRY), 0))",
     "if (0)", ["unit"]),
    ("ahead_forgets_overflow", "index.c", "	int chain_rc = chain_ahead(ix);\n",
     "	int chain_rc = 0;\n", ["unit"]),
    ("split_bit_off_by_one", "index.c", "	return bits >> level & 1;\n",
     "	return bits >> (level + 1) & 1;\n", ["unit", "stress"]),
    ("trim_forgotten", "index.c", "	if (at.bucket != home)\n		chain_trim(ix, home);\n", "",
     ["unit"]),
    ("undo_forgotten", "index.c", "				chain_discard(ix, target);\n", "", ["unit"]),
    ("budget_not_asked", "chain.c", "	if (!budget_take(ix->budget, bytes))\n		return -ENOMEM;\n",
     "	(void)budget_take;\n", ["unit"]),
    ("removed_not_counted", "index.c", "	count_add(ix, -1);\n", "", ["unit", "stress"]),
]

# The reader's loop stands in index.h's head; lookup.h is the tests' copy of it.
MUTANTS.append(("miss_without_second_look", "lookup.h",
                "	} while (index_view(ix) != view);\n", "	} while (0);\n", ["stress"]))

TESTS = {
    "unit": ["test_index.c", [], []],
    "epoch": ["test_epoch.c", [], []],
    "stress": ["stress_index.c", ["-DINDEX_PORTABLE"], ["20", "3", "3", "2000"]],
}


def plant(root, name, old, new):
    folder = "tests/index" if name == "lookup.h" else "index"
    path = os.path.join(root, folder, name)
    with open(path) as f:
        text = f.read()
    # However the formatter breaks the lines.
    pattern = re.compile(r"\s+".join(re.escape(word) for word in old.split()))
    if len(pattern.findall(text)) != 1:
        sys.exit(f"{name}: the text to change is there {len(pattern.findall(text))} times:\n{old}")
    text = pattern.sub(lambda _: new.strip(), text)
    # link_before_copy: the entry is read before its slot becomes a link, and copied after
    if "CHAIN_SLOT), was" not in text and "was," in text:
        text = text.replace("	/* The entry in the link's slot is copied behind first",
                            "	uint64_t was = entry_load(last, CHAIN_SLOT);\n"
                            "	/* The entry in the link's slot is copied behind first")
    with open(path, "w") as f:
        f.write(text)


def build(root, build_dir, test):
    source, flags, args = TESTS[test]
    out = os.path.join(root, test)
    command = ["cc", "-std=gnu17", "-O2", "-D_GNU_SOURCE", "-fno-strict-aliasing", "-pthread", "-w",
               "-include", f"{root}/tests/index/chaos.h",
               f"-I{root}", f"-I{root}/include", *flags, f"{root}/index/index.c",
               f"{root}/index/chain.c", f"{root}/index/epoch.c", f"{root}/tests/index/{source}",
               f"{build_dir}/libthermocline.a", "-lcunit", "-lnuma", "-o", out]
    subprocess.run(command, check=True)
    return [out, *args]


def caught(root, build_dir, test):
    command = build(root, build_dir, test)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode == 0:
        return None
    lines = [l.strip() for l in (done.stdout + done.stderr).splitlines()
             if "WRONG" in l or "FAILED" in l or "index/" in l]
    return lines[0] if lines else f"status {done.returncode}"


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build_dir, only = sys.argv[1], sys.argv[2:]
    survived = 0
    for name, path, old, new, tests in [("none", None, None, None, list(TESTS))] + MUTANTS:
        if only and name not in only:
            continue
        with tempfile.TemporaryDirectory() as root:
            for folder in ("alloc", "include", "index", "tests"):
                shutil.copytree(folder, os.path.join(root, folder))
            if path:
                plant(root, path, old, new)
            for test in tests:
                how = caught(root, build_dir, test)
                if how:
                    print(f"{name}: {test}: {how}".replace(root + "/", ""), flush=True)
                    break
            else:
                print(f"{name}: " + ("all is well" if not path else "SURVIVED"), flush=True)
            survived += (how is None) == bool(path)
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
