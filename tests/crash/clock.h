/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CRASH_CLOCK_H
#define TESTS_CRASH_CLOCK_H

/* Before each workload: it repeats whatever came before. */
void clock_restart(void);
/* Seconds that really pass. */
double clock_real(void);

#endif
