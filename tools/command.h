/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of `thermo`, one function each. Each gets the argument vector from its own name on
 * and answers the process's exit code: 0, 1 (it failed, one line on stderr says why) or 2 (it was
 * asked wrongly).
 */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

enum { COMMAND_OK = 0, COMMAND_FAILED = 1, COMMAND_USAGE = 2 };

int replay_main(int argc, char **argv);
int demo_main(int argc, char **argv);
int bench_main(int argc, char **argv);
int topology_main(int argc, char **argv);
int inspect_main(int argc, char **argv);
int repair_main(int argc, char **argv);

#endif
