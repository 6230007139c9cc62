#define _GNU_SOURCE
#include "job/threads.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A positive number at the start of `text`, or 0. */
static int leading_number(const char *text)
{
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9') {
        return 0;
    }
    long value = strtol(text, &end, 10);
    return end != text && value > 0 && value < 1 << 20 ? (int)value : 0;
}

/* Reads a small file of one line; false when there is none. */
static int read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    int ok = fgets(line, (int)size, file) != NULL;
    return fclose(file) == 0 && ok;
}

/* CPUs that a quota of `quota` us in every `period` us is worth, rounded up; 0: no limit. */
static int quota_cpus(double quota, double period)
{
    if (quota <= 0 || period <= 0) {
        return 0;
    }
    double cpus = quota / period;
    return cpus >= 1 << 20 ? 0 : (int)cpus + (cpus > (int)cpus);
}

/* The cgroup v2 files "cpu.max" of our group and its parents; the tightest counts. */
static int cgroup_v2_cpus(void)
{
    char line[1024];
    char path[1200];
    int least = 0;

    /* "0::/path" is the only line of a pure v2 system. */
    if (!read_line("/proc/self/cgroup", line, sizeof line) || strncmp(line, "0::/", 4) != 0) {
        return 0;
    }
    char *group = line + 3;
    group[strcspn(group, "\n")] = '\0';
    for (;;) {
        char limit[64];
        (void)snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        if (read_line(path, limit, sizeof limit)) {
            /* "QUOTA PERIOD", or "max PERIOD", which is no number: no limit. */
            char *rest;
            double quota = strtod(limit, &rest);
            int cpus = quota_cpus(quota, strtod(rest, NULL));
            least = cpus > 0 && (least == 0 || cpus < least) ? cpus : least;
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            return least;
        }
        *slash = '\0';
    }
}

static int cgroup_v1_cpus(void)
{
    char quota[64];
    char period[64];
    if (!read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof quota) ||
        !read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period)) {
        return 0;
    }
    return quota_cpus(leading_number(quota), leading_number(period));
}

static int affinity_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        return CPU_COUNT(&set);
    }
    /* More CPUs than the fixed set holds. */
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

int engram_threads_default(void)
{
    int asked = leading_number(getenv("OMP_NUM_THREADS"));
    if (asked > 0) {
        return asked;
    }
    int least = affinity_cpus();
    const int limits[] = {cgroup_v2_cpus(), cgroup_v1_cpus(),
                          leading_number(getenv("SLURM_CPUS_PER_TASK"))};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        least = limits[i] > 0 && limits[i] < least ? limits[i] : least;
    }
    return least > 0 ? least : 1;
}
