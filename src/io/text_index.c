#include "io/text_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/size.h"

static bool make_slots(struct engram_text_index *index, size_t room)
{
    size_t bytes;
    if (!engram_size_mul(room, sizeof *index->slots, &bytes) ||
        (index->slots = malloc(bytes)) == NULL) {
        return false;
    }
    for (size_t i = 0; i < room; i++) {
        index->slots[i] = -1;
    }
    index->room = room;
    return true;
}

bool engram_text_index_create(struct engram_text_index *index, size_t expected)
{
    size_t room = 64;
    while (room / 2 < expected && room < (size_t)-1 / 4) {
        room *= 2;
    }
    *index = (struct engram_text_index){0};
    return make_slots(index, room);
}

void engram_text_index_free(struct engram_text_index *index)
{
    free(index->slots);
    *index = (struct engram_text_index){0};
}

/* The slot of an equal string, or the empty one where it belongs. */
static size_t find_slot(const struct engram_text_index *index, engram_text_at_fn at,
                        const void *texts, const char *text, size_t length)
{
    size_t slot = (size_t)engram_hash64(text, length, 0) & (index->room - 1);
    while (index->slots[slot] >= 0) {
        size_t other_length;
        const char *other = at(texts, index->slots[slot], &other_length);
        if (other_length == length && (length == 0 || memcmp(other, text, length) == 0)) {
            break;
        }
        slot = (slot + 1) & (index->room - 1);
    }
    return slot;
}

int64_t engram_text_index_find(const struct engram_text_index *index, engram_text_at_fn at,
                               const void *texts, const char *text, size_t length)
{
    return index->slots[find_slot(index, at, texts, text, length)];
}

static void place(struct engram_text_index *index, engram_text_at_fn at, const void *texts,
                  int64_t number)
{
    size_t length;
    const char *text = at(texts, number, &length);
    index->slots[find_slot(index, at, texts, text, length)] = number;
}

bool engram_text_index_add(struct engram_text_index *index, engram_text_at_fn at, const void *texts,
                           int64_t number)
{
    if (index->used + 1 > index->room / 2) {
        struct engram_text_index larger = {.used = index->used};
        if (index->room > (size_t)-1 / 2 || !make_slots(&larger, index->room * 2)) {
            return false;
        }
        for (size_t i = 0; i < index->room; i++) {
            if (index->slots[i] >= 0) {
                place(&larger, at, texts, index->slots[i]);
            }
        }
        free(index->slots);
        *index = larger;
    }
    place(index, at, texts, number);
    index->used++;
    return true;
}
