/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of a process: memory and CPU time. pid 0 is this process. */
#ifndef TOOLS_BENCH_PROC_H
#define TOOLS_BENCH_PROC_H

#include <stdint.h>

/* Resident bytes; 0 if it cannot be said. */
uint64_t proc_resident_bytes(int pid);
/* User and system seconds of all its threads, ended ones too; 0 if they cannot be said. */
double proc_cpu_seconds(int pid);
/* Memory that could be taken now without swapping, in bytes; 0 if it cannot be said. */
uint64_t proc_memory_available(void);

#endif
