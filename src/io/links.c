#include "io/links.h"

#include <stdlib.h>
#include <string.h>

#include "base/endian.h"

herr_t engram_h5_object_info(hid_t location, const char *name, hid_t link_access, H5O_type_t *type,
                             struct engram_object_key *key)
{
    memset(key, 0, sizeof *key);
#if H5_VERSION_GE(1, 12, 0)
    H5O_info2_t info;
    herr_t result = H5Oget_info_by_name3(location, name, &info, H5O_INFO_BASIC, link_access);
    if (result >= 0) {
        memcpy(key->bytes, &info.token, sizeof info.token);
    }
#else
    H5O_info_t info;
    herr_t result = H5Oget_info_by_name2(location, name, &info, H5O_INFO_BASIC, link_access);
    if (result >= 0) {
        memcpy(key->bytes, &info.addr, sizeof info.addr);
    }
#endif
    if (result >= 0) {
        *type = info.type;
    }
    return result;
}

uint64_t engram_object_address(const struct engram_object_key *key)
{
#if H5_VERSION_GE(1, 12, 0)
    return engram_load64le(key->bytes); /* as files have it */
#else
    haddr_t address = 0;
    memcpy(&address, key->bytes, sizeof address);
    return address;
#endif
}

void engram_h5_link_target(const ENGRAM_H5_LINK_INFO *link, struct engram_object_key *key)
{
    memset(key, 0, sizeof *key);
#if H5_VERSION_GE(1, 12, 0)
    memcpy(key->bytes, &link->u.token, sizeof link->u.token);
#else
    memcpy(key->bytes, &link->u.address, sizeof link->u.address);
#endif
}

static struct engram_seen *slot_of(struct engram_seen *slots, size_t count,
                                   const struct engram_object_key *key)
{
    uint64_t hash = 1469598103934665603U;

    for (size_t i = 0; i < sizeof key->bytes; i++) {
        hash = (hash ^ key->bytes[i]) * 1099511628211U;
    }
    size_t at = (size_t)(hash ^ (hash >> 29)) & (count - 1);
    while (slots[at].path != NULL && memcmp(&slots[at].key, key, sizeof *key) != 0) {
        at = (at + 1) & (count - 1);
    }
    return &slots[at];
}

struct engram_seen *engram_seen_lookup(struct engram_seen_table *table,
                                       const struct engram_object_key *key)
{
    if (2 * (table->used + 1) > table->count) {
        size_t count = table->count == 0 ? 256 : 2 * table->count;
        struct engram_seen *slots = calloc(count, sizeof *slots);
        if (slots == NULL) {
            return NULL;
        }
        for (size_t i = 0; i < table->count; i++) {
            if (table->slots[i].path != NULL) {
                *slot_of(slots, count, &table->slots[i].key) = table->slots[i];
            }
        }
        free(table->slots);
        table->slots = slots;
        table->count = count;
    }
    return slot_of(table->slots, table->count, key);
}

void engram_seen_mark(struct engram_seen_table *table, struct engram_seen *slot,
                      const struct engram_object_key *key, const char *path)
{
    slot->key = *key;
    slot->path = path;
    table->used++;
}

bool engram_link_path_push(struct engram_link_path *path, const char *name)
{
    size_t length = strlen(name);
    size_t needed = path->length + length + 2;

    if (needed > path->size) {
        char *larger = realloc(path->text, 2 * needed);
        if (larger == NULL) {
            return false;
        }
        path->text = larger;
        path->size = 2 * needed;
    }
    path->text[path->length] = '/';
    memcpy(path->text + path->length + 1, name, length + 1);
    path->length += length + 1;
    return true;
}

void engram_link_path_cut(struct engram_link_path *path, size_t length)
{
    path->length = length;
    if (path->text != NULL) {
        path->text[length] = '\0';
    }
}
