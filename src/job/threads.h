/* How many threads a job uses when nobody says. */
#ifndef ENGRAM_JOB_THREADS_H
#define ENGRAM_JOB_THREADS_H

/* `OMP_NUM_THREADS` (its first number), else the least of CPU affinity, cgroup v1/v2 CPU quota and
 * SLURM_CPUS_PER_TASK; at least 1. */
int engram_threads_default(void);

#endif
