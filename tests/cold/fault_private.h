/* SPDX-License-Identifier: Apache-2.0 */
/* What fault_file.c (rules and the record) and fault_replay.c share. */
#ifndef TESTS_COLD_FAULT_PRIVATE_H
#define TESTS_COLD_FAULT_PRIVATE_H

#include "tests/cold/fault_file.h"

#include <pthread.h>

#define FAULT_FDS 4096
#define FAULT_NAMES 4096

struct fault_name {
	char name[64];
	uint64_t file;
};

struct fault_file {
	struct file_ops ops;          /* first: the table is how the filling finds itself */
	const struct file_ops *under; /* const after open */
	pthread_mutex_t lock;         /* of all below */
	struct fault_rule rule;
	bool armed, stopped, recording;
	uint64_t hits;
	uint64_t counts[FAULT_ALL_KINDS];
	struct fault_event *events;
	size_t events_count, events_room;
	uint64_t files; /* numbers given out */
	uint64_t file_of_fd[FAULT_FDS];
	struct fault_name names[FAULT_NAMES]; /* of the recorded directory, now */
	unsigned names_count;
};

#endif
