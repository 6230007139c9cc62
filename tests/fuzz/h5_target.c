#include "h5_target.h"

#include <hdf5.h>
#include <string.h>

static void check_dataset(const struct engram_dataset_info *info)
{
    FUZZ_CHECK(info->path != NULL && info->path[0] == '/');
    FUZZ_CHECK(info->rank >= 0);
    for (int i = 0; i < 4 && i < info->rank; i++) {
        FUZZ_CHECK(info->dims[i] >= 0 && info->chunk[i] >= 0);
    }
    FUZZ_CHECK(info->content <= ENGRAM_CONTENT_OTHER && info->storage <= ENGRAM_STORAGE_ITEMS);
    FUZZ_CHECK(memchr(info->type_name, 0, sizeof info->type_name) != NULL);
    FUZZ_CHECK(memchr(info->filters, 0, sizeof info->filters) != NULL);
    FUZZ_CHECK((info->storage == ENGRAM_STORAGE_ITEMS) == (info->items != NULL));
    if (info->member != NULL) {
        FUZZ_CHECK(info->member > info->path && strstr(info->path, info->member) != NULL);
    }
}

bool fuzz_layout(const char *path, struct engram_layout *layout)
{
    fuzz_begin();
    enum engram_status status = engram_layout_read(path, &fuzz_log, layout);
    fuzz_check_status(status, FUZZ_READ_FAILURES);
    if (status != ENGRAM_OK) {
        FUZZ_CHECK(layout->count == 0 && layout->datasets == NULL);
        return false;
    }
    FUZZ_CHECK(layout->kind <= ENGRAM_LAYOUT_ITEMS);
    FUZZ_CHECK(memchr(layout->distance, 0, sizeof layout->distance) != NULL);
    FUZZ_CHECK(memchr(layout->hint, 0, sizeof layout->hint) != NULL);
    for (size_t i = 0; i < layout->count; i++) {
        check_dataset(&layout->datasets[i]);
        FUZZ_CHECK(i == 0 || strcmp(layout->datasets[i - 1].path, layout->datasets[i].path) <= 0);
        FUZZ_CHECK(engram_layout_find(layout, layout->datasets[i].path) != NULL);
        (void)engram_layout_ids_for(layout, &layout->datasets[i]);
    }
    return true;
}

void fuzz_check_handles(void)
{
    /* Not files: HDF5 cannot close some that are damaged. */
    const unsigned kinds = H5F_OBJ_DATASET | H5F_OBJ_GROUP | H5F_OBJ_DATATYPE | H5F_OBJ_ATTR;

    FUZZ_CHECK(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, kinds) <= 0);
}

/* A target whose input is more than one file has its own. */
__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                                                     unsigned seed)
{
    return image_mutate(data, size, max_size, seed);
}
