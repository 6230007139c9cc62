#define _GNU_SOURCE
#include "io/heap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/endian.h"
#include "io/fileio.h"
#include "io/h5.h"

#define TAG "engram: a reference as it is stored"
#define WINDOW_BYTES 16384
#define ABSENT UINT64_MAX

/* ---- references as bytes */

/* A conversion for HDF5, of texts to our type, that leaves their references as they are. */
static herr_t keep_reference(hid_t source, hid_t target, H5T_cdata_t *data, size_t count,
                             size_t stride, size_t background_stride, void *bytes, void *background,
                             hid_t transfer)
{
    (void)count;
    (void)stride;
    (void)background_stride;
    (void)bytes;
    (void)background;
    (void)transfer;
    if (data->command != H5T_CONV_INIT) {
        return 0;
    }
    char *tag = H5Tget_tag(target);
    bool ours = tag != NULL && strcmp(tag, TAG) == 0 && H5Tis_variable_str(source) > 0;
    (void)H5free_memory(tag);
    data->need_bkg = H5T_BKG_NO;
    return ours ? 0 : -1;
}

static hid_t create_reference_type(size_t size)
{
    hid_t type = H5Tcreate(H5T_OPAQUE, size);

    if (type >= 0 && H5Tset_tag(type, TAG) < 0) {
        engram_h5_close(&type);
        return -1;
    }
    return type;
}

/* Makes HDF5 know the conversion; it forgets it when it is closed as a whole. */
static bool know_conversion(hid_t reference)
{
    ENGRAM_H5_HANDLE hid_t text = H5Tcopy(H5T_C_S1);
    H5T_cdata_t *data = NULL;

    if (text < 0 || H5Tset_size(text, H5T_VARIABLE) < 0) {
        return false;
    }
    return H5Tfind(text, reference, &data) == keep_reference ||
           H5Tregister(H5T_PERS_SOFT, "references", text, reference, keep_reference) >= 0;
}

/* The descriptor of the file that HDF5 reads; -1: it reads otherwise. */
static int descriptor_of(hid_t file)
{
    ENGRAM_H5_HANDLE hid_t access = H5Fget_access_plist(file);
    void *handle = NULL;

    if (access < 0 || H5Pget_driver(access) != H5FD_SEC2 ||
        H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) < 0 || handle == NULL) {
        return -1;
    }
    return *(const int *)handle;
}

herr_t engram_heap_open_bytes(struct engram_heap *heap, hid_t object)
{
    ENGRAM_H5_HANDLE hid_t file = H5Iget_file_id(object);
    ENGRAM_H5_HANDLE hid_t created = file < 0 ? -1 : H5Fget_create_plist(file);
    struct stat info;
    hsize_t user_block = 0;

    *heap = (struct engram_heap){.reference = -1, .fd = -1, .ready = true};
    if (created < 0 || H5Pget_sizes(created, &heap->address_bytes, &heap->length_bytes) < 0 ||
        H5Pget_userblock(created, &user_block) < 0) {
        return -1;
    }
    heap->base = user_block;
    heap->size = 4 + heap->address_bytes + 4;
    if (heap->address_bytes <= 8 && heap->length_bytes <= 8) {
        heap->fd = descriptor_of(file);
    }
    if (heap->fd >= 0 && fstat(heap->fd, &info) == 0) {
        heap->file_bytes = (uint64_t)info.st_size;
    }
    return 0;
}

/* What it takes to read references. */
static herr_t open_reference(struct engram_heap *heap)
{
    heap->reference = create_reference_type(heap->size);
    return heap->reference < 0 || !know_conversion(heap->reference) ? -1 : 0;
}

herr_t engram_heap_open(struct engram_heap *heap, hid_t object)
{
    return engram_heap_open_bytes(heap, object) < 0 ? -1 : open_reference(heap);
}

void engram_heap_close(struct engram_heap *heap)
{
    if (!heap->ready) {
        return;
    }
    engram_h5_close(&heap->reference);
    for (size_t i = 0; i < ENGRAM_HEAP_COLLECTIONS; i++) {
        free(heap->collections[i].objects);
    }
    free(heap->window);
    *heap = (struct engram_heap){0};
}

/* ---- the heap */

static uint64_t load(const unsigned char *bytes, size_t count)
{
    unsigned char wide[8] = {0};

    memcpy(wide, bytes, count);
    return engram_load64le(wide);
}

const unsigned char *engram_heap_look(struct engram_heap *heap, uint64_t offset, size_t bytes,
                                      const char **damage)
{
    if (offset >= heap->window_start && heap->window_bytes >= bytes &&
        offset - heap->window_start <= heap->window_bytes - bytes) {
        return heap->window + (offset - heap->window_start);
    }
    if (heap->window == NULL && (heap->window = malloc(WINDOW_BYTES)) == NULL) {
        *damage = "memory allocation failed";
        return NULL;
    }
    uint64_t left = heap->file_bytes - offset;
    heap->window_start = offset;
    heap->window_bytes = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
    if (!engram_read_at(heap->fd, heap->window, heap->window_bytes, (off_t)offset)) {
        heap->window_bytes = 0;
        *damage = "file read failed";
        return NULL;
    }
    return heap->window;
}

static const char *keep_object(struct engram_heap_collection *collection, size_t index, uint64_t at,
                               uint64_t size)
{
    if (index >= collection->count) {
        size_t count = index < 64 ? 128 : 2 * index;
        struct engram_heap_object *objects = realloc(collection->objects, count * sizeof *objects);
        if (objects == NULL) {
            return "memory allocation failed";
        }
        memset(objects + collection->count, 0xff, (count - collection->count) * sizeof *objects);
        collection->objects = objects;
        collection->count = count;
    }
    collection->objects[index] = (struct engram_heap_object){at, size};
    return NULL;
}

/* Goes through the objects in [at, end) of the file. Both kinds of headers, of a collection and of
 * an object, are 8 bytes and a length. */
static const char *list_objects(struct engram_heap *heap, uint64_t at, uint64_t end,
                                struct engram_heap_collection *collection)
{
    size_t header = 8 + heap->length_bytes;
    size_t aligned = (header + 7) & ~(size_t)7;
    const char *damage = NULL;

    while (damage == NULL && end - at >= aligned) {
        const unsigned char *object = engram_heap_look(heap, at, header, &damage);
        if (object == NULL) {
            break;
        }
        size_t index = (size_t)load(object, 2);
        uint64_t size = load(object + 8, heap->length_bytes);
        uint64_t left = end - at;
        if (index == 0) { /* free space, header included, as a rule the rest */
            if (size < aligned) {
                return "its heap is damaged";
            }
            at += size < left ? size : left;
            continue;
        }
        left -= aligned;
        if (size > left) {
            return "its heap is damaged";
        }
        uint64_t padded = (size + 7) & ~(uint64_t)7;
        damage = keep_object(collection, index, at + aligned, size);
        at += aligned + (padded < left ? padded : left);
    }
    return damage;
}

static const char *list_collection(struct engram_heap *heap,
                                   struct engram_heap_collection *collection)
{
    size_t header = 8 + heap->length_bytes;
    const char *damage = "its heap is not in the file";

    if (heap->base > heap->file_bytes || collection->address > heap->file_bytes - heap->base) {
        return damage;
    }
    uint64_t at = heap->base + collection->address;
    uint64_t left = heap->file_bytes - at;
    const unsigned char *start = left < header ? NULL : engram_heap_look(heap, at, header, &damage);
    if (start == NULL) {
        return damage;
    }
    uint64_t size = load(start + 8, heap->length_bytes);
    if (memcmp(start, "GCOL\1", 5) != 0 || size < header || size > left) {
        return "its heap is damaged";
    }
    return list_objects(heap, at + ((header + 7) & ~(size_t)7), at + size, collection);
}

static struct engram_heap_collection *find_collection(struct engram_heap *heap, uint64_t address)
{
    struct engram_heap_collection *collection =
        &heap->collections[(address >> 12) % ENGRAM_HEAP_COLLECTIONS];

    if (collection->address != address) {
        free(collection->objects);
        *collection = (struct engram_heap_collection){.address = address};
        collection->damage = list_collection(heap, collection);
    }
    return collection;
}

const char *engram_heap_find(struct engram_heap *heap, uint64_t address, uint64_t index,
                             uint64_t *at, uint64_t *size)
{
    const struct engram_heap_collection *collection = find_collection(heap, address);

    if (collection->damage != NULL) {
        return collection->damage;
    }
    if (index >= collection->count || collection->objects[index].size == ABSENT) {
        return "its heap does not hold it";
    }
    *at = collection->objects[index].at;
    *size = collection->objects[index].size;
    return NULL;
}

bool engram_heap_holds_bytes(hid_t type)
{
    ENGRAM_H5_HANDLE hid_t element = H5Tget_super(type);

    return element >= 0 && H5Tget_size(element) == 1;
}

const char *engram_heap_damage(struct engram_heap *heap, const unsigned char *reference,
                               uint64_t *length)
{
    uint64_t address = heap->fd < 0 ? 0 : load(reference + 4, heap->address_bytes);

    *length = engram_load32le(reference);
    if (address == 0) { /* none, whatever its length */
        *length = heap->fd < 0 ? *length : 0;
        return NULL;
    }
    uint64_t index = engram_load32le(reference + 4 + heap->address_bytes);
    uint64_t at = 0;
    uint64_t size = 0;
    const char *damage = engram_heap_find(heap, address, index, &at, &size);
    if (damage != NULL) {
        return damage;
    }
    return size == *length ? NULL : "its heap holds it with another length";
}

herr_t engram_heap_read_text(struct engram_heap *heap, hid_t attribute, hid_t type, char **text)
{
    unsigned char reference[4 + 32 + 4]; /* HDF5 has addresses of 32 bytes, at most */
    uint64_t length = 0;

    *text = NULL;
    if ((!heap->ready && engram_heap_open_bytes(heap, attribute) < 0) ||
        (heap->reference < 0 && open_reference(heap) < 0)) {
        return -1;
    }
    if (heap->size > sizeof reference || !engram_heap_holds_bytes(type) ||
        H5Aread(attribute, heap->reference, reference) < 0) {
        return -1;
    }
    const char *damage = engram_heap_damage(heap, reference, &length);
    if (damage != NULL) {
        (void)H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_HEAP,
                       H5E_BADVALUE, "a text claims %llu bytes; %s", (unsigned long long)length,
                       damage);
        return -1;
    }
    return H5Aread(attribute, type, text);
}
