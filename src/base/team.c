#include "base/team.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* The largest team that was seen to start in this process. */
static int proven = 1;

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t open;
    int is_open;
};

static void *wait_at_gate(void *argument)
{
    struct gate *gate = argument;
    (void)pthread_mutex_lock(&gate->mutex);
    while (!gate->is_open) {
        (void)pthread_cond_wait(&gate->open, &gate->mutex);
    }
    (void)pthread_mutex_unlock(&gate->mutex);
    return NULL;
}

/* Holds `count` threads alive at the same time; gives the error of the first that did not start. */
static int start_together(int count)
{
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    pthread_t *threads = calloc((size_t)count + 1, sizeof *threads);
    int started = 0;
    int error = threads == NULL ? ENOMEM : 0;

    while (error == 0 && started < count) {
        error = pthread_create(&threads[started], NULL, wait_at_gate, &gate);
        started += error == 0;
    }
    (void)pthread_mutex_lock(&gate.mutex);
    gate.is_open = 1;
    (void)pthread_cond_broadcast(&gate.open);
    (void)pthread_mutex_unlock(&gate.mutex);
    while (started > 0) {
        (void)pthread_join(threads[--started], NULL);
    }
    free(threads);
    return error;
}

enum engram_status engram_team_prove(int threads, const struct engram_log *log)
{
    if (threads < 1 || threads > ENGRAM_THREADS_MAX) {
        return engram_fail(log, ENGRAM_ERR_USAGE, "%d threads are out of range (1 to %d)", threads,
                           ENGRAM_THREADS_MAX);
    }
    if (threads > __atomic_load_n(&proven, __ATOMIC_RELAXED)) {
        int error = start_together(threads - 1);
        if (error != 0) {
            return engram_fail(log, ENGRAM_ERR_RESOURCE,
                               "cannot start %d threads: %s; use fewer (--threads)", threads,
                               strerror(error));
        }
        __atomic_store_n(&proven, threads, __ATOMIC_RELAXED);
    }
    return ENGRAM_OK;
}
