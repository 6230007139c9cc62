#define _GNU_SOURCE
#include "h5_fixture.h"

#include <fcntl.h>

#include "io/h5.h"
#include "io/layout.h"

static struct engram_layout layout;

static void read_layout(const char *name)
{
    fixture_clear();
    assert_int_equal(engram_layout_read(fixture_name(name), &fixture_logger, &layout), ENGRAM_OK);
    assert_string_equal(fixture_log, "");
}

static const struct engram_dataset_info *found(const char *path)
{
    const struct engram_dataset_info *info = engram_layout_find(&layout, path);

    if (info == NULL) {
        fail_msg("%s is not listed", path);
    }
    return info;
}

/* As HDF5 words it: an object is not damaged because there was no memory to look at it. */
static void test_no_memory_is_no_damage(void **state)
{
    (void)state;
    static const char *const messages[] = {"memory allocation failed for on disk image buffer",
                                           "unable to allocate heap", "string duplication failed",
                                           "image null after H5MM_realloc()",
                                           "can't find property in skip list"};
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        assert_int_equal(engram_h5_read_status(messages[i]), ENGRAM_ERR_RESOURCE);
    }
    assert_int_equal(engram_h5_read_status("file read failed: time"), ENGRAM_ERR_IO);
    assert_int_equal(engram_h5_read_status("bad object header version"), ENGRAM_ERR_DATA);
}

static void test_ann_benchmarks(void **state)
{
    hid_t file = fixture_create("ann.h5");

    (void)state;
    put_matrix(file, "/train", 7, 3);
    put_matrix(file, "/test", 2, 3);
    put_matrix(file, "/neighbors", 2, 5);
    put_matrix(file, "/distances", 2, 5);
    put_distance(file, "angular", true);
    assert_true(H5Fclose(file) >= 0);
    read_layout("ann.h5");
    assert_int_equal(layout.kind, ENGRAM_LAYOUT_ANN_BENCHMARKS);
    assert_int_equal(layout.count, 4);
    assert_string_equal(layout.distance, "angular");
    assert_string_equal(layout.datasets[0].path, "/distances");
    assert_string_equal(layout.datasets[3].path, "/train");
    assert_ptr_equal(found("train"), found("/train"));
    assert_int_equal(found("train")->dims[0], 7);
    assert_int_equal(found("train")->dims[1], 3);
    assert_null(engram_layout_find(&layout, "trai"));
    engram_layout_free(&layout);
}

static void test_single_and_links(void **state)
{
    hid_t file = fixture_create("single.h5");

    (void)state;
    put_matrix(file, "/deep/er/column", 9, 1);
    put_distance(file, "euclidean", false);
    assert_true(H5Lcreate_hard(file, "/deep", file, "/deep/er/loop", H5P_DEFAULT, H5P_DEFAULT) >=
                0);
    assert_true(H5Lcreate_soft("/deep/er/column", file, "/soft", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_soft("/round", file, "/round", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_soft("/out/x", file, "/through", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_external("ann.h5", "/", file, "/out", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_external("ann.h5", "/train", file, "/t", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_soft("/t", file, "/s", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_hard(file, "/deep/er/column", file, "/zz", H5P_DEFAULT, H5P_DEFAULT) >=
                0);
    assert_true(H5Fclose(file) >= 0);
    read_layout("single.h5");
    assert_int_equal(layout.kind, ENGRAM_LAYOUT_SINGLE);
    assert_int_equal(layout.count, 1);
    assert_string_equal(layout.distance, "euclidean");
    assert_false(layout.truncated);
    assert_string_equal(layout.datasets[0].path, "/deep/er/column");
    assert_ptr_equal(found("soft"), &layout.datasets[0]);
    assert_ptr_equal(found("/zz"), &layout.datasets[0]);
    assert_null(engram_layout_find(&layout, "t")); /* leads out of the file */
    assert_null(engram_layout_find(&layout, "s"));
    engram_layout_free(&layout);
}

static void test_types(void **state)
{
    hsize_t dims[2] = {2, 2};
    hid_t file = fixture_create("types.h5");
    hid_t bfloat = custom_float(2, 8, 7, 127);
    hid_t odd = custom_float(4, 8, 15, 127);
    hid_t wide = custom_float(8, 11, 30, 1023);
    hid_t tiny = custom_float(4, 5, 2, 15);
    hid_t twelve = H5Tcopy(H5T_STD_I16LE);
    hid_t compound = H5Tcreate(H5T_COMPOUND, 8);
    hid_t boolean = H5Tenum_create(H5T_STD_I8LE);
    hid_t many = H5Tenum_create(H5T_STD_U16BE);
    signed char zero = 0;
    signed char one = 1;
    unsigned short colours[3] = {0, 256, 512};
    const struct {
        const char *path;
        hid_t type;
        int dtype; /* -1: OTHER */
        const char *name;
    } cases[] = {
        {"/f32", H5T_IEEE_F32LE, ENGRAM_F32, "float32"},
        {"/f64b", H5T_IEEE_F64BE, ENGRAM_F64, "float64 big-endian"},
        {"/i8", H5T_STD_I8LE, ENGRAM_I8, "int8"},
        {"/u8b", H5T_STD_U8BE, ENGRAM_U8, "uint8"},
        {"/i16b", H5T_STD_I16BE, ENGRAM_I16, "int16 big-endian"},
        {"/u16", H5T_STD_U16LE, ENGRAM_U16, "uint16"},
        {"/i32", H5T_STD_I32LE, ENGRAM_I32, "int32"},
        {"/u32", H5T_STD_U32LE, ENGRAM_U32, "uint32"},
        {"/i64b", H5T_STD_I64BE, ENGRAM_I64, "int64 big-endian"},
        {"/u64", H5T_STD_U64LE, ENGRAM_U64, "uint64"},
        {"/bf16", bfloat, ENGRAM_F32, "bfloat16"},
        {"/odd", odd, ENGRAM_F32, "float of 24 bits"},
        {"/wide", wide, ENGRAM_F64, "float of 42 bits"},
        {"/twelve", twelve, -1, "integer of 12 bits in 2 bytes"},
        {"/ld", H5T_NATIVE_LDOUBLE, -1, NULL},
        {"/bits", H5T_STD_B8LE, ENGRAM_U8, "bool (bit field)"},
        {"/bits16", H5T_STD_B16LE, -1, "bit field"},
        {"/many", many, ENGRAM_U16, "enumeration (uint16 big-endian)"},
        {"/compound", compound, -1, "compound"},
        {"/bool", boolean, ENGRAM_I8, "bool"},
    };

    (void)state;
    assert_true(H5Tset_precision(twelve, 12) >= 0);
    assert_true(H5Tinsert(compound, "a", 0, H5T_NATIVE_INT) >= 0);
    assert_true(H5Tenum_insert(boolean, "FALSE", &zero) >= 0);
    assert_true(H5Tenum_insert(boolean, "TRUE", &one) >= 0);
    assert_true(H5Tenum_insert(many, "RED", &colours[0]) >= 0);
    assert_true(H5Tenum_insert(many, "GREEN", &colours[1]) >= 0);
    assert_true(H5Tenum_insert(many, "BLUE", &colours[2]) >= 0);
    assert_true(H5Tset_size(tiny, 1) >= 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put(file, cases[i].path, cases[i].type, 2, dims, H5P_DEFAULT, -1, NULL);
    }
    put(file, "/fp8", tiny, 2, dims, H5P_DEFAULT, -1, NULL);
    assert_true(H5Fclose(file) >= 0);
    read_layout("types.h5");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct engram_dataset_info *info = found(cases[i].path);
        if (cases[i].dtype < 0) {
            assert_int_equal(info->content, ENGRAM_CONTENT_OTHER);
        } else {
            assert_int_equal(info->content, ENGRAM_CONTENT_NUMERIC);
            assert_int_equal(info->dtype, cases[i].dtype);
        }
        if (cases[i].name != NULL) {
            assert_string_equal(info->type_name, cases[i].name);
        }
    }
    assert_int_equal(found("fp8")->content, ENGRAM_CONTENT_OTHER);
    assert_int_equal(layout.kind, ENGRAM_LAYOUT_NONE);
    engram_layout_free(&layout);
}

static void test_storage(void **state)
{
    hsize_t dims[2] = {6, 4};
    hsize_t chunk[2] = {4, 3};
    hid_t file = fixture_create("storage.h5");
    hid_t chunked = H5Pcreate(H5P_DATASET_CREATE);
    hid_t compact = H5Pcreate(H5P_DATASET_CREATE);
    hid_t external = H5Pcreate(H5P_DATASET_CREATE);
    hid_t virtual = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(2, dims, NULL);

    (void)state;
    assert_true(H5Pset_chunk(chunked, 2, chunk) >= 0 && H5Pset_shuffle(chunked) >= 0 &&
                H5Pset_deflate(chunked, 5) >= 0 && H5Pset_fletcher32(chunked) >= 0);
    assert_true(H5Pset_layout(compact, H5D_COMPACT) >= 0);
    assert_true(H5Pset_external(external, "missing.raw", 0, H5F_UNLIMITED) >= 0);
    assert_true(H5Pset_virtual(virtual, space, "missing.h5", "/x", space) >= 0);
    put(file, "/chunked", H5T_IEEE_F32LE, 2, dims, chunked, -1, NULL);
    put(file, "/compact", H5T_IEEE_F32LE, 2, dims, compact, -1, NULL);
    put(file, "/external", H5T_IEEE_F32LE, 2, dims, external, -1, NULL);
    put(file, "/virtual", H5T_IEEE_F32LE, 2, dims, virtual, -1, NULL);
    put(file, "/null", H5T_IEEE_F32LE, -1, NULL, H5P_DEFAULT, -1, NULL);
    assert_true(H5Fclose(file) >= 0);
    read_layout("storage.h5");
    assert_int_equal(found("chunked")->storage, ENGRAM_STORAGE_CHUNKED);
    assert_int_equal(found("chunked")->chunk[0], 4);
    assert_int_equal(found("chunked")->chunk[1], 3);
    assert_string_equal(found("chunked")->filters, "shuffle, deflate 5, fletcher32");
    assert_int_equal(found("compact")->storage, ENGRAM_STORAGE_COMPACT);
    assert_int_equal(found("external")->storage, ENGRAM_STORAGE_EXTERNAL);
    assert_int_equal(found("virtual")->storage, ENGRAM_STORAGE_VIRTUAL);
    assert_int_equal(found("virtual")->dims[1], 4);
    assert_int_equal(found("null")->rank, 0);
    engram_layout_free(&layout);
    (void)H5Sclose(space);
}

static const char *ids_of(const char *path)
{
    const struct engram_dataset_info *ids = engram_layout_ids_for(&layout, found(path));

    return ids == NULL ? "" : ids->path;
}

static void test_ids(void **state)
{
    hid_t file = fixture_create("ids.h5");

    (void)state;
    put_matrix(file, "/a/vectors", 5, 2);
    put_matrix(file, "/a/more", 5, 2);
    put_ids(file, "/a/other", 5);
    put_ids(file, "/a/name", 5);
    put_ids(file, "/a/more_ids", 5);
    put_ids(file, "/a/ids", 4);
    put_matrix(file, "/b/vectors", 6, 2);
    put_ids(file, "/c/far", 6);
    put_matrix(file, "/d/vectors", 8, 2);
    put_ids(file, "/d/one", 8);
    put_ids(file, "/d/two", 8);
    put_matrix(file, "/e", 9, 2);
    put_ids(file, "/f/one", 9);
    put_ids(file, "/f/two", 9);
    assert_true(H5Fclose(file) >= 0);
    read_layout("ids.h5");
    assert_string_equal(ids_of("a/vectors"), "/a/name");
    assert_string_equal(ids_of("a/more"), "/a/more_ids");
    assert_string_equal(ids_of("b/vectors"), "/c/far");
    assert_string_equal(ids_of("d/vectors"), ""); /* nothing decides */
    assert_string_equal(ids_of("e"), "");
    engram_layout_free(&layout);

    file = fixture_create("equal.h5");
    put_matrix(file, "/train", 5, 2);
    put_matrix(file, "/test", 5, 2);
    put_ids(file, "/ids", 5);
    put_ids(file, "/test_ids", 5);
    assert_true(H5Fclose(file) >= 0);
    read_layout("equal.h5");
    assert_string_equal(ids_of("train"), ""); /* /ids could belong to either */
    assert_string_equal(ids_of("test"), "/test_ids");
    engram_layout_free(&layout);
}

static void test_many(void **state)
{
    hsize_t one = 1;
    char name[32];
    hid_t file = fixture_create("many.h5");

    (void)state;
    for (int i = 0; i < 4200; i++) {
        snprintf(name, sizeof name, "/d%05d", i);
        put(file, name, H5T_IEEE_F32LE, 1, &one, H5P_DEFAULT, -1, NULL);
    }
    put_matrix(file, "/train", 3, 2);
    put_matrix(file, "/test", 3, 2);
    put_matrix(file, "/z", 3, 2);
    assert_true(H5Fclose(file) >= 0);
    read_layout("many.h5");
    assert_true(layout.truncated);
    assert_int_equal(layout.kind, ENGRAM_LAYOUT_ANN_BENCHMARKS);
    assert_null(engram_layout_find(&layout, "z"));
    assert_int_equal(
        engram_layout_add(&layout, fixture_name("many.h5"), "nothing", &fixture_logger), ENGRAM_OK);
    assert_int_equal(engram_layout_add(&layout, fixture_name("many.h5"), "z", &fixture_logger),
                     ENGRAM_OK);
    assert_string_equal(found("z")->path, "/z");
    for (size_t i = 1; i < layout.count; i++) {
        assert_true(strcmp(layout.datasets[i - 1].path, layout.datasets[i].path) < 0);
    }
    engram_layout_free(&layout);
}

static void write_bytes(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(fixture_name(name), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void refuse(const char *name, enum engram_status status, const char *part)
{
    fixture_clear();
    assert_int_equal(engram_layout_read(fixture_name(name), &fixture_logger, &layout), status);
    assert_logged(part);
    assert_int_equal(layout.count, 0);
}

static void test_bad_files(void **state)
{
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char broken[600] = {0};

    (void)state;
    refuse("absent.h5", ENGRAM_ERR_NO_INPUT, "no such file");
    refuse("", ENGRAM_ERR_NO_INPUT, "is a directory");
    write_bytes("empty.h5", "", 0);
    refuse("empty.h5", ENGRAM_ERR_DATA, "is empty");
    write_bytes("text.h5", "hello, world; not HDF5\n", 23);
    refuse("text.h5", ENGRAM_ERR_DATA, "not an HDF5 file");
    write_bytes("array.npy", "\x93NUMPY\x01\x00", 8);
    refuse("array.npy", ENGRAM_ERR_DATA, "NumPy");
    memcpy(broken, signature, sizeof signature);
    broken[8] = 77;
    write_bytes("broken.h5", broken, sizeof broken);
    refuse("broken.h5", ENGRAM_ERR_DATA, "malformed HDF5 file (");
    assert_int_equal(mkfifo(fixture_name("pipe"), 0600), 0);
    refuse("pipe", ENGRAM_ERR_NO_INPUT, "not a regular file");

    hid_t file = fixture_create("cut.h5");
    put_matrix(file, "/x", 500, 10);
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(truncate(fixture_name("cut.h5"), 9000), 0);
    refuse("cut.h5", ENGRAM_ERR_DATA, "truncated");

    file = fixture_create("secret.h5");
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(chmod(fixture_name("secret.h5"), 0), 0);
    if (access(fixture_path, R_OK) != 0) { /* root may read everything */
        refuse("secret.h5", ENGRAM_ERR_PERMISSION, "ermission denied");
    }

    file = fixture_create("none.h5");
    assert_true(H5Fclose(file) >= 0);
    read_layout("none.h5");
    assert_int_equal(layout.count, 0);
    assert_int_equal(layout.kind, ENGRAM_LAYOUT_NONE);
    engram_layout_free(&layout);
}

/* What the caller had for HDF5's own messages stays as it was. */
static herr_t own_printer(hid_t stack, void *context)
{
    (void)stack;
    *(int *)context += 1;
    return 0;
}

static void test_quiet(void **state)
{
    int calls = 0;
    unsigned open = H5F_OBJ_FILE | H5F_OBJ_DATASET | H5F_OBJ_GROUP | H5F_OBJ_ATTR;
    H5E_auto2_t printer = NULL;
    void *context = NULL;

    (void)state;
    assert_true(H5Eset_auto2(H5E_DEFAULT, own_printer, &calls) >= 0);
    refuse("broken.h5", ENGRAM_ERR_DATA, "malformed");
    assert_int_equal(calls, 0);
    assert_true(H5Eget_auto2(H5E_DEFAULT, &printer, &context) >= 0);
    assert_true(printer == own_printer && context == &calls);
    assert_true(H5Eset_auto2(H5E_DEFAULT, NULL, NULL) >= 0);
    assert_int_equal(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, open), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_memory_is_no_damage),
        cmocka_unit_test(test_ann_benchmarks),
        cmocka_unit_test(test_single_and_links),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_quiet),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
