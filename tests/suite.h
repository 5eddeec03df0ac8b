/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One CUnit suite per test program, from a table of cases:
 *
 *	static const struct suite_case cases[] = {
 *		SUITE_CASE(put_full_pool_busy),
 *	};
 *	int main(void) { return suite_run("pool", NULL, NULL, cases, SUITE_COUNT(cases)); }
 *
 * Environment: THERMO_TEST_XML=FILE writes CUnit's XML there; THERMO_TEST_CASE=TEXT runs only the
 * cases whose name holds TEXT; THERMO_TEST_SEED=N repeats a random test. CUnit has no isolation and
 * no time-out: a case that may crash forks, and meson sets the time-out.
 */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <CUnit/Automated.h>
#include <CUnit/CUnit.h>
#include <CUnit/TestRun.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct suite_case {
	const char *name; /* <operation>_<condition>_<result> */
	void (*run)(void);
};

#define SUITE_CASE(function) {#function, function}
#define SUITE_COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define SUITE_SKIPPED 77 /* the exit status that meson reads as "skipped" */

/* Is this a build with ThreadSanitizer, with AddressSanitizer? */
#ifdef __has_feature
#define SUITE_HAS(feature) __has_feature(feature)
#else
#define SUITE_HAS(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || SUITE_HAS(thread_sanitizer)
#define SUITE_TSAN 1
#else
#define SUITE_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__) || SUITE_HAS(address_sanitizer)
#define SUITE_ASAN 1
#else
#define SUITE_ASAN 0
#endif

static unsigned suite_skipped;

/* Says that this case cannot be tried here, and why. Then return from the case. */
static inline void suite_skip(const char *why)
{
	suite_skipped++;
	printf("  skipped: %s: %s\n", CU_get_current_test()->pName, why);
}

/* THERMO_TEST_SEED, or one from the clock; printed, so that a failure can be repeated. */
static inline uint64_t suite_seed(void)
{
	const char *text = getenv("THERMO_TEST_SEED");
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t seed = text ? strtoull(text, NULL, 0)
			     : ((uint64_t)now.tv_sec << 30) ^ (uint64_t)now.tv_nsec;
	printf("  THERMO_TEST_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/* Runs with CUnit's XML writer, which adds "-Results.xml" to the name, and renames the result. */
static inline int suite_run_xml(const char *file)
{
	char written[4096];
	CU_set_output_filename(file);
	CU_automated_run_tests();
	if (CU_get_error() != CUE_SUCCESS)
		return -1;
	int n = snprintf(written, sizeof(written), "%s-Results.xml", file);
	if (n < 0 || (size_t)n >= sizeof(written))
		return -1;
	return rename(written, file);
}

static inline void suite_print_failures(void)
{
	for (CU_pFailureRecord f = CU_get_failure_list(); f; f = f->pNext)
		printf("  FAILED %s: %s:%u: %s\n", f->pTest ? f->pTest->pName : "set-up or tear-down",
		       f->strFileName ? f->strFileName : "?", f->uiLineNumber,
		       f->strCondition ? f->strCondition : "");
}

/* Runs the table between setup and teardown (either may be NULL; they answer 0 when well) and prints
 * a summary. The exit status for main: 0, 1 after a failure, 77 if every case was skipped. */
static inline int suite_run(const char *name, int (*setup)(void), int (*teardown)(void),
			    const struct suite_case *cases, size_t n)
{
	const char *xml = getenv("THERMO_TEST_XML");
	const char *only = getenv("THERMO_TEST_CASE");
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return EXIT_FAILURE;
	CU_pSuite suite = CU_add_suite(name, setup, teardown);
	for (size_t i = 0; suite && i < n; i++) {
		if (only && !strstr(cases[i].name, only))
			continue;
		if (!CU_add_test(suite, cases[i].name, cases[i].run))
			suite = NULL;
	}
	if (!suite) {
		printf("%s: cannot register: %s\n", name, CU_get_error_msg());
		CU_cleanup_registry();
		return EXIT_FAILURE;
	}

	if (xml && *xml) {
		failed = suite_run_xml(xml) != 0;
		if (failed)
			printf("%s: cannot write %s\n", name, xml);
	} else {
		failed = CU_run_all_tests() != CUE_SUCCESS;
	}
	unsigned run = CU_get_number_of_tests_run();
	unsigned bad = CU_get_number_of_tests_failed() + CU_get_number_of_suites_failed();
	suite_print_failures();
	printf("%s: %u cases, %u failed, %u skipped, %u assertions\n", name, run, bad, suite_skipped,
	       CU_get_number_of_asserts());
	failed |= bad != 0 || run == 0;
	CU_cleanup_registry();
	if (failed)
		return EXIT_FAILURE;
	return run == suite_skipped ? SUITE_SKIPPED : EXIT_SUCCESS;
}

#endif
