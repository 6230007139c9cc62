/* A checkpoint of random records, damaged at random: it is opened with records that were appended,
 * up to some moment, each with its own payload, or it is refused. And one that was opened can be
 * written on. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "fuzz.h"
#include "job/journal.h"

enum { RECORDS = 12, PAYLOAD_MAX = 3 << 19 };

/* A record, with its payload's hash, and the records that counted when it had been appended. */
struct written {
    struct engram_record record;
    uint64_t hash;
    size_t list[RECORDS + 1];
    size_t listed;
};

static struct written appended[RECORDS + 1];
static size_t count;
static unsigned char payload[PAYLOAD_MAX];

static struct engram_journal_options options_of(void)
{
    static char output[300];

    if (output[0] == '\0') {
        (void)snprintf(output, sizeof output, "%s/out.h5", fuzz_folder());
    }
    return (struct engram_journal_options){
        .output = output, .identity = "a job, 4 x 7, cosine", .log = fuzz_log};
}

static void path_of(char path[320])
{
    (void)snprintf(path, 320, "%s%s", options_of().output, ENGRAM_JOURNAL_SUFFIX);
}

static void fill(unsigned char *bytes, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(seed >> 8 * (i & 7) ^ i);
    }
}

static bool same_record(const struct engram_record *a, const struct engram_record *b)
{
    return a->kind == b->kind && a->bytes == b->bytes &&
           memcmp(a->queries, b->queries, sizeof a->queries) == 0 &&
           memcmp(a->base, b->base, sizeof a->base) == 0;
}

/* Which of the appended records count now: the new one does, the others are known. */
static void remember(const struct engram_journal *journal, struct written *entry)
{
    entry->listed = engram_journal_count(journal);
    FUZZ_CHECK(entry->listed > 0 && entry->listed <= count);
    for (size_t i = 0; i < entry->listed; i++) {
        const struct engram_record *record = engram_journal_record(journal, i);
        size_t which = count - 1;
        if (i + 1 == entry->listed) {
            FUZZ_CHECK(same_record(record, &entry->record));
            entry->record.offset = record->offset;
        }
        while (which > 0 && appended[which].record.offset != record->offset) {
            which--;
        }
        FUZZ_CHECK(same_record(record, &appended[which].record));
        entry->list[i] = which;
    }
}

/* Appends what the next bytes of the input say, in one piece or two. */
static void append(struct engram_journal *journal, struct fuzz_input *input)
{
    unsigned choice = (unsigned)fuzz_take(input, 1);
    int64_t first = (int64_t)(fuzz_take(input, 1) & 3) * 1024;
    size_t size = fuzz_take(input, 2) % 5000;
    uint64_t seed = fuzz_take(input, 2);

    if ((choice & 0xf8) == 0xf8) { /* more than one block of the writer */
        size = ((size_t)1 << 20) - 100 + size;
    }
    struct written *entry = &appended[count++];
    entry->record = (struct engram_record){.kind = (enum engram_record_kind)(1 + choice % 8),
                                           .queries = {first, first + 1024},
                                           .base = {0, (int64_t)seed},
                                           .bytes = size};
    fill(payload, size, seed);
    entry->hash = engram_hash64(payload, size, 0);
    size_t piece = (choice & 8) != 0 ? size / 3 : size;
    FUZZ_CHECK(engram_journal_append(journal, &entry->record, payload, piece) == ENGRAM_OK);
    if (piece < size) {
        FUZZ_CHECK(engram_journal_more(journal, payload + piece, size - piece) == ENGRAM_OK);
    }
    remember(journal, entry);
}

static void damage(const char *path, struct fuzz_input *input)
{
    struct stat info;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    FUZZ_CHECK(fd >= 0 && fstat(fd, &info) == 0);
    for (int i = 0; i < 4 && input->size > 0; i++) {
        unsigned kind = (unsigned)fuzz_take(input, 1);
        off_t at = (off_t)(fuzz_take(input, 3) % ((uint64_t)info.st_size + 200));
        size_t size = 1 + (size_t)fuzz_take(input, 2) % 300;
        uint64_t value = fuzz_take(input, 2);
        bool done = true;
        if ((kind & 8) != 0) { /* where headers are */
            at &= ~(off_t)63;
        }
        if (kind % 4 == 0) {
            done = ftruncate(fd, at) == 0;
        } else {
            fill(payload, size, kind % 4 == 1 ? 0 : value);
            if (kind % 4 == 1) {
                memset(payload, 0, size);
            }
            done = pwrite(fd, payload, kind % 4 == 2 ? 1 + size % 8 : size, at) > 0;
        }
        FUZZ_CHECK(done);
    }
    (void)close(fd);
}

/* Whether `journal` holds just what counted after the first `some` records. */
static bool is_prefix(const struct engram_journal *journal, size_t some)
{
    const struct written *last = &appended[some == 0 ? 0 : some - 1];
    size_t listed = some == 0 ? 0 : last->listed;

    if (listed != engram_journal_count(journal)) {
        return false;
    }
    for (size_t i = 0; i < listed; i++) {
        const struct engram_record *found = engram_journal_record(journal, i);
        const struct written *wanted = &appended[last->list[i]];
        if (found->offset != wanted->record.offset || !same_record(found, &wanted->record)) {
            return false;
        }
        FUZZ_CHECK(engram_journal_read(journal, found, 0, found->bytes, payload) == ENGRAM_OK);
        FUZZ_CHECK(engram_hash64(payload, found->bytes, 0) == wanted->hash);
    }
    return true;
}

/* The number of records that it goes back to. */
static size_t prefix_of(const struct engram_journal *journal)
{
    for (size_t some = count + 1; some-- > 0;) {
        if (is_prefix(journal, some)) {
            return some;
        }
    }
    fuzz_breach(__FILE__, __LINE__, "its records are some that were appended");
}

static struct engram_journal *reopen(bool may_be_refused)
{
    struct engram_journal_options options = options_of();
    struct engram_journal *journal = NULL;

    fuzz_begin();
    enum engram_status status = engram_journal_open(&options, &journal);
    fuzz_check_status(status, may_be_refused ? FUZZ_ALLOW(ENGRAM_ERR_CANT_CREATE) : 0);
    FUZZ_CHECK((journal != NULL) == (status == ENGRAM_OK));
    return journal;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    char path[320];
    size_t wanted = (size_t)fuzz_take(&input, 1) % RECORDS;

    path_of(path);
    (void)unlink(path);
    count = 0;
    struct engram_journal *journal = reopen(false);
    while (count < wanted) {
        append(journal, &input);
    }
    FUZZ_CHECK(prefix_of(journal) == count);
    engram_journal_close(journal, false);
    damage(path, &input);

    journal = reopen(true);
    if (journal == NULL) {
        (void)unlink(path);
        return 0;
    }
    count = prefix_of(journal);
    append(journal, &input);
    FUZZ_CHECK(engram_journal_commit(journal) == ENGRAM_OK);
    engram_journal_close(journal, false);
    journal = reopen(false);
    FUZZ_CHECK(prefix_of(journal) == count);
    engram_journal_close(journal, true);
    FUZZ_CHECK(access(path, F_OK) != 0);
    return 0;
}
