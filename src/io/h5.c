#define _GNU_SOURCE
#include "io/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/reading.h"

/* H5Pset_file_locking came with 1.10.7 and, on the next branch, with 1.12.1. */
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
#define HAVE_FILE_LOCKING 1
#else
#define HAVE_FILE_LOCKING 0
#endif

static void close_quietly(hid_t id)
{
    ENGRAM_H5_QUIET; /* what is damaged, or has no memory, may not even be closed */
    /* Results are not checked: these handles only read, there is nothing left to lose. */
    switch (H5Iget_type(id)) {
    case H5I_FILE:
        (void)H5Fclose(id);
        break;
    case H5I_GROUP:
        (void)H5Gclose(id);
        break;
    case H5I_DATASET:
        (void)H5Dclose(id);
        break;
    case H5I_DATATYPE:
        (void)H5Tclose(id);
        break;
    case H5I_DATASPACE:
        (void)H5Sclose(id);
        break;
    case H5I_ATTR:
        (void)H5Aclose(id);
        break;
    case H5I_GENPROP_LST:
        (void)H5Pclose(id);
        break;
    default:
        break;
    }
}

void engram_h5_close(hid_t *id)
{
    if (*id < 0) {
        return;
    }
    /* Closing clears HDF5's error stack, and so does telling HDF5 to be quiet; scopes end before
     * the caller asks for the message of what failed in them. */
    hid_t errors = H5Eget_current_stack();
    close_quietly(*id);
    *id = -1;
    if (errors >= 0) {
        (void)H5Eset_current_stack(errors);
    }
}

struct engram_h5_printer engram_h5_silence(void)
{
    struct engram_h5_printer printer = {NULL, NULL, false};

    /* Fails when the application installed a printer of the 1.6 kind: then that one stays. */
    printer.saved = H5Eget_auto2(H5E_DEFAULT, &printer.call, &printer.data) >= 0 &&
                    H5Eset_auto2(H5E_DEFAULT, NULL, NULL) >= 0;
    return printer;
}

void engram_h5_restore(struct engram_h5_printer *printer)
{
    if (printer->saved) {
        (void)H5Eset_auto2(H5E_DEFAULT, printer->call, printer->data);
    }
}

struct message {
    char *text;
    size_t size;
};

static herr_t first_message(unsigned n, const H5E_error2_t *error, void *context)
{
    struct message *message = context;

    (void)n;
    if (error->desc == NULL || error->desc[0] == '\0') {
        return 0;
    }
    snprintf(message->text, message->size, "%s", error->desc);
    return 1;
}

const char *engram_h5_message(char *text, size_t size)
{
    struct message message = {text, size};

    snprintf(text, size, ENGRAM_H5_NO_MESSAGE);
    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first_message, &message);
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = ' ';
        }
    }
    return text;
}

enum engram_status engram_h5_check_version(const struct engram_log *log)
{
    unsigned major = 0;
    unsigned minor = 0;
    unsigned release = 0;

    if (H5get_libversion(&major, &minor, &release) < 0) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE,
                           "not enough memory to initialise the HDF5 library");
    }
    if (major == H5_VERS_MAJOR && minor == H5_VERS_MINOR && release == H5_VERS_RELEASE) {
        return ENGRAM_OK;
    }
#if H5_VERSION_GE(1, 14, 3)
    /* From here on HDF5 itself accepts a newer release of the same series. */
    if (major == H5_VERS_MAJOR && minor == H5_VERS_MINOR && release > H5_VERS_RELEASE) {
        return ENGRAM_OK;
    }
#endif
    /* The variable by which HDF5 lets people take the risk; "0" means to abort after all. */
    const char *disabled = getenv("HDF5_DISABLE_VERSION_CHECK");
    if (disabled != NULL && strtol(disabled, NULL, 10) > 0) {
        return ENGRAM_OK;
    }
    return engram_fail(log, ENGRAM_ERR_INTERNAL,
                       "compiled for HDF5 %d.%d.%d but the library found at run time is %u.%u.%u; "
                       "load the matching HDF5 (LD_LIBRARY_PATH, modules) or rebuild",
                       H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE, major, minor, release);
}

/* Looks for HDF5's signature where it may stand: at 0, 512, 1024, 2048, ... (a user block can
 * come first). 1 found, 0 not, -1 errno. `start` gets the first bytes of the file. */
static int find_signature(int fd, off_t size, unsigned char start[8])
{
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

    for (off_t at = 0; at <= size - 8; at = at == 0 ? 512 : at * 2) {
        unsigned char bytes[8];
        ssize_t got;
        do {
            got = pread(fd, bytes, sizeof bytes, at);
        } while (got < 0 && errno == EINTR);
        if (got < 0) {
            return -1;
        }
        if (at == 0) {
            memcpy(start, bytes, sizeof bytes);
        }
        if (got == (ssize_t)sizeof bytes && memcmp(bytes, signature, sizeof bytes) == 0) {
            return 1;
        }
        if (at > INT64_MAX / 2) {
            break;
        }
    }
    return 0;
}

static enum engram_status errno_failure(const char *path, int error, const struct engram_log *log)
{
    enum engram_status status = engram_status_of_errno(error);

    return engram_fail(log, status, "%s: %s", path,
                       error == ENOENT ? "no such file" : strerror(error));
}

/* What the operating system and the first bytes tell, before HDF5 sees the file. Opening a pipe
 * would block, so the kind of file is looked at first. */
static enum engram_status check_file(const char *path, const struct engram_log *log)
{
    struct stat info;
    unsigned char start[8] = {0};

    if (stat(path, &info) != 0) {
        return errno_failure(path, errno, log);
    }
    if (S_ISDIR(info.st_mode)) {
        return engram_fail(log, ENGRAM_ERR_NO_INPUT, "%s: is a directory; name an HDF5 file", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return engram_fail(log, ENGRAM_ERR_NO_INPUT,
                           "%s: is not a regular file; HDF5 needs one it can seek in", path);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno_failure(path, errno, log);
    }
    int found = info.st_size == 0 ? 0 : find_signature(fd, info.st_size, start);
    int error = errno;
    (void)close(fd);
    if (found > 0) {
        engram_reading_opened((uint64_t)info.st_size);
        return ENGRAM_OK;
    }
    if (found < 0) {
        return errno_failure(path, error, log);
    }
    if (info.st_size == 0) {
        return engram_fail(log, ENGRAM_ERR_DATA, "%s: the file is empty", path);
    }
    if (memcmp(start, "\x93NUMPY", 6) == 0) {
        return engram_fail(log, ENGRAM_ERR_DATA,
                           "%s: is a NumPy file, not HDF5; write the array to HDF5 with h5py first",
                           path);
    }
    return engram_fail(log, ENGRAM_ERR_DATA, "%s: is not an HDF5 file (no HDF5 signature)", path);
}

/* The errno inside one of HDF5's messages ("..., errno = 11, ..."); 0 without. */
static long message_errno(const char *message)
{
    const char *at = strstr(message, "errno = ");

    return at == NULL ? 0 : strtol(at + strlen("errno = "), NULL, 10);
}

/* The last one: it is open without locks already, by us. */
static bool is_lock_failure(const char *message)
{
    return strstr(message, "lock file") != NULL || strstr(message, "lock the file") != NULL ||
           strstr(message, "file locking flag") != NULL;
}

static hid_t open_with(const char *path, bool unlocked)
{
    ENGRAM_H5_HANDLE hid_t access = H5Pcreate(H5P_FILE_ACCESS);

    if (access < 0) {
        return -1;
    }
#if HAVE_FILE_LOCKING
    if (unlocked && H5Pset_file_locking(access, false, true) < 0) {
        return -1;
    }
#else
    (void)unlocked;
#endif
    return H5Fopen(path, H5F_ACC_RDONLY, access);
}

enum engram_status engram_h5_malformed(const char *path, const char *message,
                                       const struct engram_log *log)
{
    enum engram_status status = engram_h5_read_status(message);

    if (status == ENGRAM_ERR_RESOURCE) {
        return engram_fail(log, status,
                           "%s: HDF5 could not get the memory that it wants for this file (%s); "
                           "free some, or the file is damaged and claims too much",
                           path, message);
    }
    return engram_fail(log, status, "%s: malformed HDF5 file (%s)", path, message);
}

static enum engram_status open_failure(const char *path, const char *message,
                                       const struct engram_log *log)
{
    if (is_lock_failure(message)) {
        if (message_errno(message) == EAGAIN) {
            return engram_fail(log, ENGRAM_ERR_IO,
                               "%s: another program has the file open for writing; wait for it",
                               path);
        }
        return engram_fail(log, ENGRAM_ERR_IO,
                           "%s: the file cannot be locked (%s); set HDF5_USE_FILE_LOCKING=FALSE",
                           path, message);
    }
    if (strstr(message, "already open for write") != NULL) {
        return engram_fail(log, ENGRAM_ERR_DATA,
                           "%s: is marked as open for writing: its writer is still at work or did "
                           "not close it (h5clear -s removes the mark)",
                           path);
    }
    if (strstr(message, "truncated file") != NULL) {
        return engram_fail(log, ENGRAM_ERR_DATA, "%s: the file is truncated (%s)", path, message);
    }
    long error = message_errno(message);
    if (error != 0) {
        return engram_fail(log, engram_status_of_errno((int)error), "%s: %s", path, message);
    }
    return engram_h5_malformed(path, message, log);
}

enum engram_status engram_h5_open(const char *path, const struct engram_log *log, hid_t *file)
{
    char message[256];

    *file = -1;
    enum engram_status status = engram_h5_check_version(log);
    if (status != ENGRAM_OK) {
        return status;
    }
    status = check_file(path, log);
    if (status != ENGRAM_OK) {
        return status;
    }
    ENGRAM_H5_QUIET;
    ENGRAM_READING(path, NULL);
    *file = open_with(path, false);
    if (*file >= 0) {
        return ENGRAM_OK;
    }
    engram_h5_message(message, sizeof message);
    /* Some parallel file systems know no locks. A lock held by a writer is another matter. */
    if (HAVE_FILE_LOCKING && is_lock_failure(message) && message_errno(message) != EAGAIN) {
        *file = open_with(path, true);
        if (*file >= 0) {
            return ENGRAM_OK;
        }
        engram_h5_message(message, sizeof message);
    }
    return open_failure(path, message, log);
}

static herr_t refuse_external(const char *parent_file, const char *parent_group,
                              const char *child_file, const char *child_object, unsigned *flags,
                              hid_t access, void *context)
{
    (void)parent_file;
    (void)parent_group;
    (void)child_file;
    (void)child_object;
    (void)flags;
    (void)access;
    (void)context;
    return -1;
}

hid_t engram_h5_link_access(hid_t class_id)
{
    hid_t list = H5Pcreate(class_id);

    if (list >= 0 && H5Pset_elink_cb(list, refuse_external, NULL) < 0) {
        engram_h5_close(&list);
        return -1;
    }
    return list;
}

herr_t engram_h5_reclaim(hid_t type, hid_t space, void *buffer)
{
#if H5_VERSION_GE(1, 12, 0)
    return H5Treclaim(type, space, H5P_DEFAULT, buffer);
#else
    return H5Dvlen_reclaim(type, space, H5P_DEFAULT, buffer);
#endif
}
