/* Chunks packed by us are read back by HDF5's own filters; see also test_output.c. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hdf5.h>
#include <unistd.h>

#include "io/codec.h"

/* Hands a packed chunk to HDF5 and reads the dataset back. */
static void through_hdf5(const void *packed, size_t packed_size, size_t count, hid_t type,
                         size_t chunk_count, void *back)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    assert_true(H5Pset_fapl_core(access, 1 << 20, 0) >= 0); /* in memory only */
    hid_t file = H5Fcreate("codec.h5", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t dims = count;
    hsize_t chunk = chunk_count;
    hsize_t corner = 0;
    assert_true(H5Pset_chunk(creation, 1, &chunk) >= 0);
    assert_true(H5Pset_shuffle(creation) >= 0);
    assert_true(H5Pset_deflate(creation, 5) >= 0);
    hid_t space = H5Screate_simple(1, &dims, NULL);
    hid_t set = H5Dcreate2(file, "x", type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dwrite_chunk(set, H5P_DEFAULT, 0, &corner, packed_size, packed) >= 0);
    assert_true(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, back) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(creation);
    H5Fclose(file);
    H5Pclose(access);
}

static void round_trip(size_t element, hid_t type, size_t count, size_t chunk_count)
{
    size_t size = count * element;
    size_t chunk_size = chunk_count * element;
    unsigned char *data = malloc(size);
    unsigned char *back = malloc(size);
    unsigned char *scratch = malloc(chunk_size);
    size_t bound = engram_codec_bound(chunk_size);
    unsigned char *packed = malloc(bound);
    size_t packed_size = 0;

    assert_true(bound >= chunk_size);
    for (size_t i = 0; i < size; i++) {
        data[i] = (unsigned char)(i * 2654435761u >> (i % 13));
    }
    memset(back, 0xee, size);
    for (int level = 1; level <= 9; level += 4) {
        assert_int_equal(engram_codec_pack(data, size, chunk_size, element, level, scratch, packed,
                                           &packed_size),
                         ENGRAM_OK);
        assert_true(packed_size > 0 && packed_size <= bound);
        through_hdf5(packed, packed_size, count, type, chunk_count, back);
        assert_memory_equal(data, back, size);
    }
    free(data);
    free(back);
    free(scratch);
    free(packed);
}

static void test_elements(void **state)
{
    (void)state;
    round_trip(4, H5T_STD_I32LE, 1000, 1000);
    round_trip(8, H5T_STD_I64LE, 131072, 131072);
    round_trip(8, H5T_STD_I64LE, 1, 1);
    round_trip(1, H5T_STD_U8LE, 77, 77);
    hid_t text = H5Tcopy(H5T_C_S1);
    assert_true(H5Tset_size(text, 13) >= 0 && H5Tset_strpad(text, H5T_STR_NULLPAD) >= 0);
    round_trip(13, text, 501, 501);
    H5Tclose(text);
}

/* What an edge chunk lacks is zero, whatever the scratch memory held. */
static void test_edge_is_zero(void **state)
{
    (void)state;
    int32_t data[3] = {-1, 7, 1 << 30};
    int32_t back[8];
    unsigned char scratch[32];
    unsigned char packed[256];
    size_t packed_size = 0;
    const int32_t expected[8] = {-1, 7, 1 << 30, 0, 0, 0, 0, 0};

    assert_true(engram_codec_bound(sizeof scratch) <= sizeof packed);
    memset(scratch, 0x55, sizeof scratch);
    assert_int_equal(
        engram_codec_pack(data, sizeof data, sizeof scratch, 4, 6, scratch, packed, &packed_size),
        ENGRAM_OK);
    through_hdf5(packed, packed_size, 8, H5T_STD_I32LE, 8, back);
    assert_memory_equal(back, expected, sizeof back);
}

static void test_refusals(void **state)
{
    (void)state;
    unsigned char data[16] = {0};
    unsigned char scratch[16];
    unsigned char packed[256];
    size_t size = 0;

    assert_int_equal(engram_codec_bound((size_t)1 << 32), 0);
    assert_int_equal(engram_codec_bound(UINT32_MAX), 0); /* would not fit once packed */
    assert_int_equal(engram_codec_pack(data, 16, 12, 4, 1, scratch, packed, &size),
                     ENGRAM_ERR_INTERNAL);
    assert_int_equal(engram_codec_pack(data, 6, 16, 4, 1, scratch, packed, &size),
                     ENGRAM_ERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_edge_is_zero),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
