#include "search/metric.h"

#include <string.h>

#include "base/size.h"

static const struct {
    const char *name;
    size_t size;
} DTYPES[] = {
    [ENGRAM_F32] = {"float32", 4}, [ENGRAM_F64] = {"float64", 8}, [ENGRAM_F16] = {"float16", 2},
    [ENGRAM_I8] = {"int8", 1},     [ENGRAM_U8] = {"uint8", 1},    [ENGRAM_I16] = {"int16", 2},
    [ENGRAM_U16] = {"uint16", 2},  [ENGRAM_I32] = {"int32", 4},   [ENGRAM_U32] = {"uint32", 4},
    [ENGRAM_I64] = {"int64", 8},   [ENGRAM_U64] = {"uint64", 8},  [ENGRAM_BITS] = {"bits", 0},
};

/* The first name of a metric is its canonical one. */
static const struct {
    const char *name;
    enum engram_metric metric;
} METRICS[] = {
    {"cosine", ENGRAM_COSINE},
    {"angular", ENGRAM_COSINE},
    {"ip", ENGRAM_IP},
    {"dot", ENGRAM_IP},
    {"l2", ENGRAM_L2},
    {"euclidean", ENGRAM_L2},
    {"sqeuclidean", ENGRAM_SQEUCLIDEAN},
    {"l1", ENGRAM_L1},
    {"manhattan", ENGRAM_L1},
    {"cityblock", ENGRAM_L1},
    {"hamming", ENGRAM_HAMMING},
    {"jaccard", ENGRAM_JACCARD},
};
#define METRIC_COUNT (sizeof METRICS / sizeof METRICS[0])

size_t engram_dtype_size(enum engram_dtype dtype)
{
    size_t index = (size_t)dtype;
    return index < sizeof DTYPES / sizeof DTYPES[0] ? DTYPES[index].size : 0;
}

size_t engram_row_bytes(enum engram_dtype dtype, int64_t dim)
{
    size_t element = engram_dtype_size(dtype);
    size_t bytes;
    if (dim < 0 || (element == 0 && dtype != ENGRAM_BITS) || (uint64_t)dim > SIZE_MAX) {
        return SIZE_MAX;
    }
    if (dtype == ENGRAM_BITS) {
        return (size_t)dim / 8 + (dim % 8 != 0);
    }
    return engram_size_mul((size_t)dim, element, &bytes) ? bytes : SIZE_MAX;
}

const char *engram_dtype_name(enum engram_dtype dtype)
{
    size_t index = (size_t)dtype;
    return index < sizeof DTYPES / sizeof DTYPES[0] ? DTYPES[index].name : "unknown";
}

const char *engram_metric_name(enum engram_metric metric)
{
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        if (METRICS[i].metric == metric) {
            return METRICS[i].name;
        }
    }
    return "unknown";
}

enum engram_status engram_metric_parse(const char *name, enum engram_metric *metric)
{
    for (size_t i = 0; name != NULL && i < METRIC_COUNT; i++) {
        if (strcmp(name, METRICS[i].name) == 0) {
            *metric = METRICS[i].metric;
            return ENGRAM_OK;
        }
    }
    return ENGRAM_ERR_USAGE;
}
