/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epoch-based reclamation: what a reader may still see is not reused. One domain for the process.
 *
 * A reader encloses its accesses in epoch_enter/epoch_exit (nests; never across I/O or a wait). A
 * thread's slot is found through dynamic TLS, taken at its first enter and freed at its exit.
 * Whoever unlinks something calls epoch_advance() *after* the unlinking and may reuse it once
 * epoch_passed(that number).
 *
 * The reader's side is a plain store: the other side issues membarrier(PRIVATE_EXPEDITED) before it
 * looks at the slots; where the kernel refuses that, readers pay a full fence.
 * (Fraser, "Practical lock-freedom"; asymmetric fences as in liburcu.)
 */
#ifndef INDEX_EPOCH_H
#define INDEX_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct epoch_slot {
	_Alignas(64) _Atomic uint64_t entered; /* 0 = outside; written by its thread only */
	uint32_t depth;                        /* its thread only */
	_Atomic uint32_t taken;
};

/* The index helper completes this header: inline epoch_enter/epoch_exit and
 *   int epoch_register(void);            takes the calling thread's slot now; -ENOMEM
 *   uint64_t epoch_advance(void);        number to wait for
 *   bool epoch_passed(uint64_t number);  no reader that entered before epoch_advance() is left
 *   void epoch_wait(uint64_t number);    yields until passed; never called between enter and exit
 */

#endif
