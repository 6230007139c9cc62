#define _GNU_SOURCE
#include "io/readahead.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct engram_readahead {
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    void (*work)(void *); /* NULL: idle */
    void *context;
    bool end;
};

static void *run(void *argument)
{
    struct engram_readahead *ahead = argument;

    (void)pthread_mutex_lock(&ahead->lock);
    for (;;) {
        while (ahead->work == NULL && !ahead->end) {
            (void)pthread_cond_wait(&ahead->changed, &ahead->lock);
        }
        if (ahead->work == NULL) {
            break;
        }
        (void)pthread_mutex_unlock(&ahead->lock);
        ahead->work(ahead->context); /* the owner changes neither before this is done */
        (void)pthread_mutex_lock(&ahead->lock);
        ahead->work = NULL;
        (void)pthread_cond_signal(&ahead->changed);
    }
    (void)pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

struct engram_readahead *engram_readahead_create(void)
{
    struct engram_readahead *ahead = calloc(1, sizeof *ahead);

    if (ahead == NULL || pthread_mutex_init(&ahead->lock, NULL) != 0) {
        free(ahead);
        return NULL;
    }
    (void)pthread_cond_init(&ahead->changed, NULL); /* cannot fail on Linux: it takes no memory */
    if (pthread_create(&ahead->thread, NULL, run, ahead) == 0) {
        return ahead;
    }
    (void)pthread_cond_destroy(&ahead->changed);
    (void)pthread_mutex_destroy(&ahead->lock);
    free(ahead);
    return NULL;
}

void engram_readahead_start(struct engram_readahead *ahead, void (*work)(void *), void *context)
{
    (void)pthread_mutex_lock(&ahead->lock);
    ahead->work = work;
    ahead->context = context;
    (void)pthread_cond_signal(&ahead->changed);
    (void)pthread_mutex_unlock(&ahead->lock);
}

void engram_readahead_wait(struct engram_readahead *ahead)
{
    (void)pthread_mutex_lock(&ahead->lock);
    while (ahead->work != NULL) {
        (void)pthread_cond_wait(&ahead->changed, &ahead->lock);
    }
    (void)pthread_mutex_unlock(&ahead->lock);
}

void engram_readahead_free(struct engram_readahead *ahead)
{
    if (ahead == NULL) {
        return;
    }
    engram_readahead_wait(ahead);
    (void)pthread_mutex_lock(&ahead->lock);
    ahead->end = true;
    (void)pthread_cond_signal(&ahead->changed);
    (void)pthread_mutex_unlock(&ahead->lock);
    (void)pthread_join(ahead->thread, NULL);
    (void)pthread_cond_destroy(&ahead->changed);
    (void)pthread_mutex_destroy(&ahead->lock);
    free(ahead);
}
