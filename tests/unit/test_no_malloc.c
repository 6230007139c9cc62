/* Promise 6: between entering and leaving the parallel work-sharing loop a compute thread calls no
 * allocator. The allocator's entry points are replaced by counting ones, and every thread counts
 * what it calls between the two calls of engram_unit_loop_hook. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "search/unit.h"
#include "search_fixture.h"

/* Sanitizers bring allocators of their own, and other C libraries other names. */
#if defined(__GLIBC__) && !UNDER_ASAN && !UNDER_TSAN
#define CAN_COUNT 1
#else
#define CAN_COUNT 0
#endif

static __thread bool counting;
static uint64_t calls;   /* of the allocator, in the loop, by all threads */
static uint64_t windows; /* threads that went through the loop */

#if CAN_COUNT
static void count(void)
{
    if (counting) {
        (void)__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    }
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t number, size_t size);
void *__libc_realloc(void *memory, size_t size);
void __libc_free(void *memory);
void *__libc_memalign(size_t alignment, size_t size);

/* Exported: what libgomp calls must come here, too. */
#define REPLACE __attribute__((visibility("default")))

REPLACE void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

REPLACE void *calloc(size_t number, size_t size)
{
    count();
    return __libc_calloc(number, size);
}

REPLACE void *realloc(void *memory, size_t size)
{
    count();
    return __libc_realloc(memory, size);
}

REPLACE void free(void *memory)
{
    count();
    __libc_free(memory);
}

REPLACE void *aligned_alloc(size_t alignment, size_t size)
{
    count();
    return __libc_memalign(alignment, size);
}

REPLACE int posix_memalign(void **memory, size_t alignment, size_t size)
{
    count();
    *memory = __libc_memalign(alignment, size);
    return *memory == NULL ? ENOMEM : 0;
}

/* Pages straight from the kernel would be cheating. */
REPLACE void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    count();
    return (void *)syscall(SYS_mmap, address, size, protection, flags, file, offset);
}

REPLACE int munmap(void *address, size_t size)
{
    count();
    return (int)syscall(SYS_munmap, address, size);
}
#endif

static void *volatile sink; /* keeps the compiler from dropping a malloc that is freed at once */

static void watch(bool entering)
{
    (void)__atomic_fetch_add(&windows, entering, __ATOMIC_RELAXED);
    counting = entering;
}

static void watch_and_allocate(bool entering)
{
    if (!entering) {
        sink = malloc(10);
        free(sink);
    }
    watch(entering);
}

static void allocate_in_progress(void *context, uint64_t done, uint64_t total)
{
    (void)context, (void)done, (void)total;
    sink = calloc(3, 5);
    free(sink);
}

/* One search under the hook; returns the calls that were counted. */
static uint64_t counted(void (*hook)(bool entering), const struct engram_prepared *prepared,
                        const struct engram_set *queries,
                        const struct engram_search_options *options)
{
    struct answer a = {.pairs = options->k == NO_K};
    calls = 0;
    windows = 0;
    engram_unit_loop_hook = hook;
    answer_run(&a, prepared, queries, options);
    engram_unit_loop_hook = NULL;
    assert_int_equal(a.status, ENGRAM_OK);
    assert_true(windows >= (uint64_t)options->threads);
    assert_true(a.stats.pairs > 0);
    answer_free(&a);
    return calls;
}

/* The same for the groups of a set. */
static uint64_t counted_groups(const struct engram_prepared *prepared, const struct engram_set *set,
                               struct engram_search_options options)
{
    int64_t *component = malloc((size_t)set->rows * sizeof *component);
    assert_non_null(component);
    options.self = true;
    calls = 0;
    windows = 0;
    engram_unit_loop_hook = watch;
    enum engram_status status = engram_search_components(prepared, set, &options, component, NULL);
    engram_unit_loop_hook = NULL;
    assert_int_equal(status, ENGRAM_OK);
    assert_true(windows >= (uint64_t)options.threads);
    free(component);
    return calls;
}

/* The same for the value of every pair, and row by row. */
static uint64_t counted_values(const struct engram_prepared *prepared,
                               const struct engram_set *base, const struct engram_set *queries,
                               const struct engram_search_options *options)
{
    double *out = malloc((size_t)(base->rows * queries->rows) * sizeof *out);
    struct engram_set left = *queries;
    struct engram_set right = *base;
    left.rows = right.rows = base->rows < queries->rows ? base->rows : queries->rows;
    assert_non_null(out);
    calls = 0;
    windows = 0;
    engram_unit_loop_hook = watch;
    enum engram_status dense = engram_search_dense(prepared, queries, options, out, NULL);
    enum engram_status rows = engram_search_pairwise(&left, &right, options, out, NULL);
    engram_unit_loop_hook = NULL;
    assert_int_equal(dense, ENGRAM_OK);
    assert_int_equal(rows, ENGRAM_OK);
    assert_true(windows >= 2 * (uint64_t)options->threads);
    free(out);
    return calls;
}

/* Many queries are cut into blocks, few into segments of the base. */
static void check_shape(int64_t query_rows, int64_t base_rows, int64_t dim)
{
    size_t usual = engram_pairs_first_room;
    for (int metric = 0; metric < METRICS; metric++) {
        struct matrix base = matrix_make(ENGRAM_F32, base_rows, dim, 0, KIND_PLAIN, false);
        struct matrix queries = matrix_make(ENGRAM_F64, query_rows, dim, 0, KIND_PLAIN, false);
        for (int filter = ENGRAM_FILTER_CANONICAL; filter < FILTERS; filter++) {
            if (!filter_fits((enum engram_filter)filter, (enum engram_metric)metric)) {
                continue;
            }
            struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
            struct engram_prepared *prepared = NULL;
            options.metric = (enum engram_metric)metric;
            options.filter = (enum engram_filter)filter;
            options.threads = 3;
            assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);
            assert_int_equal(counted(watch, prepared, &queries.set, &options), 0);
            options.k = NO_K;
            options.max_distance = metric == ENGRAM_COSINE ? 0.9 : metric == ENGRAM_IP ? -1 : 5;
            assert_int_equal(counted(watch, prepared, &queries.set, &options), 0);
            assert_int_equal(counted_groups(prepared, &base.set, options), 0);
            assert_int_equal(counted_values(prepared, &base.set, &queries.set, &options), 0);
            engram_pairs_first_room = 10; /* several rounds */
            assert_int_equal(counted(watch, prepared, &queries.set, &options), 0);
            engram_pairs_first_room = usual;
            engram_prepared_free(prepared);
        }
        matrix_free(&base);
        matrix_free(&queries);
    }
}

static void test_blocks(void **state)
{
    (void)state;
    if (!CAN_COUNT) {
        skip();
    }
    check_shape(400, 900, 20);
}

static void test_segments(void **state)
{
    (void)state;
    if (!CAN_COUNT) {
        skip();
    }
    check_shape(6, 9000, 20);
}

static void test_wide_rows(void **state)
{
    (void)state;
    if (!CAN_COUNT) {
        skip();
    }
    check_shape(70, 300, 800);
}

/* The counter would notice: one call in the window of every thread, or one in a callback. */
static void test_counter_counts(void **state)
{
    (void)state;
    if (!CAN_COUNT) {
        skip();
    }
    struct matrix base = matrix_make(ENGRAM_F32, 300, 20, 0, KIND_PLAIN, false);
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    struct engram_prepared *prepared = NULL;
    options.threads = 3;
    assert_int_equal(engram_prepare(&base.set, &options, &prepared), ENGRAM_OK);
    /* malloc and free, by each of three threads. */
    assert_int_equal(counted(watch_and_allocate, prepared, &base.set, &options), 6);
    options.threads = 1;
    options.progress = allocate_in_progress;
    assert_true(counted(watch, prepared, &base.set, &options) >= 2);
    counting = true;
    calls = 0;
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, 64, 100), 0);
    memory = realloc(memory, 300);
    free(memory);
    sink = aligned_alloc(64, 64);
    free(sink);
    sink = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)munmap(sink, 4096);
    counting = false;
    assert_int_equal(calls, 7);
    engram_prepared_free(prepared);
    matrix_free(&base);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_wide_rows),
        cmocka_unit_test(test_counter_counts),
    };
    (void)argc;
    wait_passively(argv);
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
