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
 *
 * A thread that cannot have a slot (no memory, or it is past its own clean-up at exit) shares one
 * reader count with others of its kind: nothing passes while that count is not zero.
 */
#ifndef INDEX_EPOCH_H
#define INDEX_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define EPOCH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EPOCH_TSAN 1
#endif
#endif
#ifndef EPOCH_TSAN
#define EPOCH_TSAN 0 /* 1: ThreadSanitizer, which knows neither fences nor membarrier */
#endif

#define EPOCH_HIDDEN __attribute__((visibility("hidden")))

struct epoch_slot {
	_Alignas(64) _Atomic uint64_t entered; /* 0 = outside; written by its thread only */
	uint32_t depth;                        /* its thread only */
	_Atomic uint32_t taken;
	uint32_t number;         /* const: of the slot, from 0 */
	_Atomic uint8_t nowhere; /* its thread only: takes stores that are not wanted, see lookup.c */
};

struct epoch_domain {
	_Alignas(64) _Atomic uint64_t now; /* from 1; only grows */
	_Atomic bool fenced;               /* readers must fence: no membarrier (yet) */
};

extern struct epoch_domain epoch_domain EPOCH_HIDDEN;

/* The calling thread's slot, or NULL. Not initial-exec: the library must be loadable with dlopen.
 */
extern EPOCH_HIDDEN
	__attribute__((tls_model("global-dynamic"))) _Thread_local struct epoch_slot *epoch_mine;

/* The same for the first EPOCH_QUICK slots; else a slot that is always entered. Never NULL, so one
 * comparison tells that a thread has its slot, that it is outside, and that its number is small. */
#define EPOCH_QUICK 63
extern EPOCH_HIDDEN
	__attribute__((tls_model("global-dynamic"))) _Thread_local struct epoch_slot *epoch_quick;

/* No slot yet: takes one and enters, or counts among the shared readers and answers NULL. */
struct epoch_slot *epoch_enter_slow(void) EPOCH_HIDDEN;
void epoch_exit_slow(void) EPOCH_HIDDEN; /* leaves the shared readers */

/* Takes the calling thread's slot now, so that the first enter is as cheap as the others. 0;
 * -ENOMEM (enter works all the same, but shares, and holds up everyone's reclamation while inside).
 */
int epoch_register(void);

/* In a forked child: from now on no thread has a quick slot, so that what its parent opened is only
 * met on the longer way, where that is looked for; and the parent's other threads, which are not
 * there, are inside no epoch. */
void epoch_forked(void);

/* What begin and end do for a thread that has its slot. */
static inline void epoch_slot_mark(struct epoch_slot *slot)
{
	/* Acquire: who reads number n also sees what was unlinked before n was given out. Release:
	 * who sees this number also sees that what we did in earlier visits is over. */
	uint64_t now = atomic_load_explicit(&epoch_domain.now, memory_order_acquire);
#if EPOCH_TSAN
	atomic_store_explicit(&slot->entered, now, memory_order_seq_cst);
#else
	atomic_store_explicit(&slot->entered, now, memory_order_release);
	/* The store must be visible before anything is read: a reclaimer that saw 0 here reuses
	 * what it unlinked earlier. Either its membarrier orders us, or our own fence does. */
	if (__builtin_expect(atomic_load_explicit(&epoch_domain.fenced, memory_order_relaxed), 0))
		atomic_thread_fence(memory_order_seq_cst);
	else
		atomic_signal_fence(memory_order_seq_cst);
#endif
}

static inline void epoch_slot_enter(struct epoch_slot *slot)
{
	if (slot->depth++ == 0)
		epoch_slot_mark(slot);
}

/* For a stretch of code that enters no other epoch: false, and nothing is done, if this thread must
 * use the functions below. What is between the two may use everything of the slot but its depth. */
static inline bool epoch_quick_enter(struct epoch_slot *quick)
{
	if (__builtin_expect(atomic_load_explicit(&quick->entered, memory_order_relaxed) != 0, 0))
		return false;
	epoch_slot_mark(quick);
	return true;
}

static inline void epoch_quick_exit(struct epoch_slot *quick)
{
	atomic_store_explicit(&quick->entered, 0, memory_order_release);
}

static inline void epoch_slot_exit(struct epoch_slot *slot)
{
	if (--slot->depth == 0)
		atomic_store_explicit(&slot->entered, 0, memory_order_release);
}

#define EPOCH_NO_THREAD UINT32_MAX

/* Number of the calling thread's slot, small and unlike every other live thread's; EPOCH_NO_THREAD
 * if it has none (yet). */
static inline uint32_t epoch_thread(void)
{
	struct epoch_slot *slot = epoch_mine;
	return __builtin_expect(slot != NULL, 1) ? slot->number : EPOCH_NO_THREAD;
}

/* Enters. Never fails. Nests, also with the pair below. What it answers goes to epoch_end, on the
 * same thread: so the look-up in thread-local storage is paid for once. */
static inline struct epoch_slot *epoch_begin(void)
{
	struct epoch_slot *slot = epoch_mine;
	if (__builtin_expect(!slot, 0))
		return epoch_enter_slow();
	epoch_slot_enter(slot);
	return slot;
}

static inline void epoch_end(struct epoch_slot *begun)
{
	if (__builtin_expect(!begun, 0))
		epoch_exit_slow();
	else
		epoch_slot_exit(begun);
}

/* The same where it is not worth carrying the slot along. */
static inline void epoch_enter(void)
{
	(void)epoch_begin();
}

static inline void epoch_exit(void)
{
	epoch_end(epoch_mine);
}

/* Number to wait for; call it after the unlinking. Any thread, also inside an epoch. */
uint64_t epoch_advance(void);

/* True once no reader is left that entered before epoch_advance() gave out `number`; everything
 * that such readers did happened before. Any thread; inside an epoch it is false for numbers given
 * out since the caller entered. A false answer costs a look at the slots, a new true one a
 * membarrier as well; old numbers are answered from memory. */
bool epoch_passed(uint64_t number);

/* Yields, then sleeps, until passed; never called between enter and exit. */
void epoch_wait(uint64_t number);

#endif
