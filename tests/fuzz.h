/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fuzz targets share. A target is one file that defines the two functions below. It is built twice:
 * with -Dfuzz=true (clang) as a libFuzzer program fuzz_NAME, and in every other build as corpus_NAME, a
 * test that tries the seeds and each file of the kept corpus once (fuzz.c has its main). Both know
 *
 *	PROGRAM --seeds FOLDER     write small valid inputs there, made by the library itself
 *
 * tests/fuzz.sh runs the targets and keeps the corpora small.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Any bytes at all. What is wrong ends the process: check() of alloc/check.h, or a sanitizer.
 * Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Calls fuzz_seed for each seed. */
void fuzz_seeds(const char *folder);

/* ---- fuzz.c ---- */
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* An input: its first byte chooses among the target's ways, the rest is what is read. */
void fuzz_seed(const char *folder, const char *name, uint8_t way, const void *bytes, size_t len);
/* The line that a refusal owes its user: there, one line, printable as far as we made it. */
void fuzz_line(const char *text);

#endif
