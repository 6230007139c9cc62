/* Mappings of virtual datasets as they are stored: every claim that the bytes do not back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "io/virtual_map.h"

static unsigned char map[4096];
static size_t used;

static void put(uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        map[used++] = (unsigned char)(value >> (8 * i));
    }
}

static void put_names(const char *file, const char *dataset)
{
    memcpy(map + used, file, strlen(file) + 1);
    used += strlen(file) + 1;
    memcpy(map + used, dataset, strlen(dataset) + 1);
    used += strlen(dataset) + 1;
}

static void start(uint64_t count, size_t length_bytes)
{
    used = 0;
    put(0, 1);
    put(count, length_bytes);
}

static void put_all(void)
{
    put(3, 4);
    put(1, 4);
    put(0, 8);
}

static void put_points(uint64_t version, uint64_t rank, uint64_t count, size_t stored)
{
    put(1, 4);
    put(version, 4);
    if (version == 1) {
        put(0, 8);
    } else {
        put(8, 1);
    }
    put(rank, 4);
    put(count, version == 1 ? 4 : 8);
    for (size_t i = 0; i < stored; i++) {
        put(i, version == 1 ? 4 : 8);
    }
}

/* Versions 2 and 3 are regular ones, which have no count. */
static void put_slab(uint64_t version, uint64_t rank, uint64_t count, size_t stored)
{
    put(2, 4);
    put(version, 4);
    if (version == 1) {
        put(0, 8);
    } else {
        put(1, 1);
        put(8, version == 2 ? 4 : 1);
    }
    put(rank, 4);
    if (version == 1) {
        put(count, 4);
    }
    for (size_t i = 0; i < stored; i++) {
        put(i, version == 1 ? 4 : 8);
    }
}

/* Ends the mapping with a checksum, which is nobody's business here, and looks at it. */
static const char *damage(void)
{
    put(0x12345678, 4);
    return engram_virtual_map_damage(map, used, 8);
}

static void assert_damage(const char *part)
{
    const char *found = damage();

    if (found == NULL || strstr(found, part) == NULL) {
        fail_msg("wanted \"%s\", got \"%s\"", part, found == NULL ? "(none)" : found);
    }
}

static void whole_mappings(void **state)
{
    (void)state;
    start(0, 8);
    assert_null(damage());
    start(3, 8);
    put_names(".", "a");
    put_all();
    put_slab(1, 2, 3, 12);
    put_names("other.h5", "/b/c");
    put_slab(2, 2, 0, 8);
    put_slab(3, 32, 0, 128);
    put_names("", "");
    put_points(1, 3, 2, 6);
    put_points(2, 1, 5, 5);
    assert_null(damage());
    for (size_t bytes = 2; bytes <= 8; bytes *= 2) {
        start(1, bytes);
        put_names(".", "a");
        put_all();
        put_all();
        put(0, 4);
        assert_null(engram_virtual_map_damage(map, used, bytes));
    }
}

static void cut_anywhere(void **state)
{
    (void)state;
    start(2, 8);
    put_names(".", "first");
    put_slab(1, 2, 3, 12);
    put_slab(2, 2, 0, 8);
    put_names(".", "second");
    put_points(1, 2, 2, 4);
    put_points(2, 2, 2, 4);
    assert_null(damage());
    for (size_t size = 0; size < used; size++) {
        assert_non_null(engram_virtual_map_damage(map, size, 8));
    }
}

static void counts(void **state)
{
    (void)state;
    start(UINT64_MAX, 8);
    put_names(".", "a");
    put_all();
    put_all();
    assert_damage("more sources than are stored");
    start(2, 8);
    put_names(".", "a");
    put_all();
    put_all();
    assert_damage("more sources than are stored");
    start(0, 8);
    put_names(".", "a");
    assert_damage("behind its last source");
    start(1, 8);
    memset(map + used, 'a', 64);
    used += 64;
    assert_damage("name in its mapping has no end");
}

static void selections(void **state)
{
    static const struct {
        uint64_t rank;
        uint64_t count;
        const char *part;
    } cases[] = {
        {0, 1, "number of dimensions"},
        {33, 1, "number of dimensions"},
        {UINT32_MAX, 1, "number of dimensions"},
        {1, 0x40000000, "more points or blocks"},
        {32, UINT32_MAX, "more points or blocks"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint64_t version = 1; version <= 2; version++) {
            start(1, 8);
            put_names(".", "a");
            put_points(version, cases[i].rank, cases[i].count, 8);
            put_all();
            assert_damage(cases[i].part);
        }
        start(1, 8);
        put_names(".", "a");
        put_all();
        put_slab(1, cases[i].rank, cases[i].count, 8);
        assert_damage(cases[i].part);
    }
    for (uint64_t version = 2; version <= 3; version++) {
        start(1, 8);
        put_names(".", "a");
        put_all();
        put_slab(version, 32, 0, 8);
        assert_damage("behind the mapping's end");
    }
    start(1, 8);
    put_names(".", "a");
    put(4, 4);
    put(1, 4);
    put(0, 8);
    put_all();
    assert_damage("no known kind");
}

/* What later versions of HDF5 may write is theirs to read. */
static void unknown_versions(void **state)
{
    (void)state;
    start(UINT64_MAX, 8);
    map[0] = 1;
    assert_null(damage());
    for (uint64_t type = 0; type <= 3; type++) {
        start(1, 8);
        put_names(".", "a");
        put(type, 4);
        put(9, 4);
        put(UINT64_MAX, 8);
        put_all();
        assert_null(damage());
    }
    start(1, 8);
    put_names(".", "a");
    put(2, 4);
    put(3, 4);
    put(2, 1); /* a flag */
    put(UINT64_MAX, 8);
    put_all();
    assert_null(damage());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_mappings),   cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(counts),           cmocka_unit_test(selections),
        cmocka_unit_test(unknown_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
