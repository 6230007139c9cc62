#include "io/h5pipeline.h"

static bool take_filter(struct engram_pipeline *pipeline, hid_t creation, unsigned index)
{
    static const struct {
        H5Z_filter_t filter;
        enum engram_chunk_filter kind;
    } known[] = {
        {H5Z_FILTER_SHUFFLE, ENGRAM_CHUNK_SHUFFLE},
        {H5Z_FILTER_DEFLATE, ENGRAM_CHUNK_DEFLATE},
        {H5Z_FILTER_FLETCHER32, ENGRAM_CHUNK_FLETCHER32},
    };
    unsigned flags = 0;
    unsigned values[4] = {0};
    size_t count = 4;
    H5Z_filter_t filter = H5Pget_filter2(creation, index, &flags, &count, values, 0, NULL, NULL);

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].filter != filter) {
            continue;
        }
        for (int j = 0; j < pipeline->count; j++) {
            if (pipeline->kind[j] == known[i].kind) {
                return false;
            }
        }
        pipeline->kind[pipeline->count++] = known[i].kind;
        if (filter == H5Z_FILTER_SHUFFLE) {
            pipeline->shuffle_element = values[0];
            return count == 1 && values[0] > 0;
        }
        return true;
    }
    return false;
}

bool engram_h5_pipeline(hid_t creation, struct engram_pipeline *pipeline)
{
    int filters = H5Pget_nfilters(creation);

    pipeline->count = 0;
    for (int i = 0; i < filters; i++) {
        if (!take_filter(pipeline, creation, (unsigned)i)) {
            return false;
        }
    }
    return filters >= 0;
}

herr_t engram_h5_read_chunk(hid_t dataset, const hsize_t *corner, void *to, size_t room,
                            uint32_t *mask)
{
#if H5_VERSION_GE(2, 0, 0)
    return H5Dread_chunk2(dataset, H5P_DEFAULT, corner, mask, to, &room);
#else
    (void)room;
    return H5Dread_chunk(dataset, H5P_DEFAULT, corner, mask, to);
#endif
}

bool engram_h5_is_empty_chunk(hid_t dataset, const hsize_t *corner, void *raw, size_t room)
{
    hsize_t size = 0;
    haddr_t address = HADDR_UNDEF;
    unsigned mask = 0;
    uint32_t filters = 0;

    return engram_h5_read_chunk(dataset, corner, raw, room, &filters) >= 0 &&
           H5Dget_chunk_info_by_coord(dataset, corner, &mask, &address, &size) >= 0 &&
           address != HADDR_UNDEF;
}
