/* Loaded before the program (LD_PRELOAD), makes one call of it fail, as a full disk, a broken one
 * or too little memory would.
 *
 *   FAULT_CALLS   names, separated by commas: which calls count (see the list at the end; h5: any
 *                 call of HDF5 from the program, on x86-64)
 *   FAULT_AT      the number of the call that fails, from 1; 0 or nothing: none
 *   FAULT_ERRNO   with which error (a number)
 *   FAULT_STICKY  1: all later ones fail, too, as on a disk that stays full
 *   FAULT_UNDER   files count only below this folder; calls without a file always count
 *   FAULT_SHOW    what fails is said on stderr
 *   FAULT_COUNT   a file to which the number of calls is appended at the end
 *
 * Memory: only allocations asked for by the program itself or libhdf5 count, and what the C library
 * and libdeflate allocate on the program's behalf; others (OpenMP's) end the process in ways of
 * their own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 4096

static const char *calls = "";
static const char *under;
static long fail_at;
static int fail_errno = EIO;
static bool sticky;
static bool show;
static atomic_long counted;
static atomic_bool ready;
static atomic_uchar ours[FDS]; /* descriptors of files below `under` */
static __thread bool busy;     /* inside the shim */

__attribute__((constructor)) static void start(void)
{
    const char *text = getenv("FAULT_CALLS");
    calls = text != NULL ? text : "";
    text = getenv("FAULT_AT");
    fail_at = text != NULL ? atol(text) : 0;
    text = getenv("FAULT_ERRNO");
    fail_errno = text != NULL ? atoi(text) : EIO;
    text = getenv("FAULT_STICKY");
    sticky = text != NULL && text[0] == '1';
    show = getenv("FAULT_SHOW") != NULL;
    under = getenv("FAULT_UNDER");
    atomic_store(&ready, true);
}

/* Every process of the command says how many it made; the first one comes last. */
__attribute__((destructor)) static void finish(void)
{
    const char *path = getenv("FAULT_COUNT");
    char text[32];
    atomic_store(&ready, false);
    if (path != NULL) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        int size = snprintf(text, sizeof text, "%ld\n", atomic_load(&counted));
        (void)!syscall(SYS_write, fd, text, (size_t)size);
        (void)syscall(SYS_close, fd);
    }
}

/* For what a build measures about itself at the end. */
void fault_stop(void);
void fault_stop(void)
{
    atomic_store(&ready, false);
}

static bool listed(const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = calls; (at = strstr(at, name)) != NULL; at += length) {
        if ((at == calls || at[-1] == ',') && (at[length] == '\0' || at[length] == ',')) {
            return true;
        }
    }
    return false;
}

/* For a debugger to stop at. */
__attribute__((noinline)) void fault_hit(void);
__attribute__((noinline)) void fault_hit(void)
{
    __asm__("");
}

/* Counts a call; true: it is the one that fails. */
static bool fails_as(const char *name, const char *what)
{
    if (!atomic_load(&ready) || busy || !listed(name)) {
        return false;
    }
    long number = atomic_fetch_add(&counted, 1) + 1;
    if (fail_at > 0 && (number == fail_at || (sticky && number > fail_at))) {
        if (show) {
            (void)!syscall(SYS_write, STDERR_FILENO, what, strlen(what));
            (void)!syscall(SYS_write, STDERR_FILENO, " fails\n", 7);
        }
        fault_hit();
        errno = fail_errno;
        return true;
    }
    return false;
}

static bool fails(const char *name)
{
    return fails_as(name, name);
}

static bool below(const char *path)
{
    char folder[PATH_MAX];
    if (under == NULL || path[0] != '/') {
        /* Relative to where we are. */
        return under == NULL || (getcwd(folder, sizeof folder) != NULL &&
                                 strncmp(folder, under, strlen(under)) == 0);
    }
    return strncmp(path, under, strlen(under)) == 0;
}

static bool is_ours(int fd)
{
    return fd >= 0 && fd < FDS && atomic_load(&ours[fd]) != 0;
}

#define NEXT(name) ((__typeof__(&name))next(#name))

static void *next(const char *name)
{
    bool before = busy;
    busy = true;
    void *found = dlsym(RTLD_NEXT, name);
    busy = before;
    return found;
}

/* ---- files */

static int opened(int fd, const char *path)
{
    if (fd >= 0 && fd < FDS) {
        atomic_store(&ours[fd], below(path));
    }
    return fd;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;             \
        va_end(list);                                                                              \
        if (below(path) && fails("open")) {                                                        \
            return -1;                                                                             \
        }                                                                                          \
        return opened(NEXT(name)(path, flags, mode), path);                                        \
    }
OPEN(open)
OPEN(open64)

/* What _FORTIFY_SOURCE makes of them, and what opens a file from within the C library. */
#define OPEN_2(name, real)                                                                         \
    int name(const char *path, int flags);                                                         \
    int name(const char *path, int flags)                                                          \
    {                                                                                              \
        return below(path) && fails("open") ? -1 : opened(NEXT(real)(path, flags), path);          \
    }
OPEN_2(__open_2, open)
OPEN_2(__open64_2, open64)

int mkostemp(char *name, int flags)
{
    return below(name) && fails("open") ? -1 : opened(NEXT(mkostemp)(name, flags), name);
}

#define FOPEN(name)                                                                                \
    FILE *name(const char *path, const char *mode)                                                 \
    {                                                                                              \
        return below(path) && fails("open") ? NULL : NEXT(name)(path, mode);                       \
    }
FOPEN(fopen)
FOPEN(fopen64)

#define STAT(name)                                                                                 \
    int name(const char *path, struct stat *info)                                                  \
    {                                                                                              \
        return below(path) && fails("stat") ? -1 : NEXT(name)(path, info);                         \
    }
STAT(stat)
STAT(lstat)

#define ON_FD(type, name, counts_as, parameters, arguments)                                        \
    type name parameters                                                                           \
    {                                                                                              \
        if (is_ours(fd) && fails(counts_as)) {                                                     \
            return -1;                                                                             \
        }                                                                                          \
        return NEXT(name) arguments;                                                               \
    }
ON_FD(ssize_t, read, "read", (int fd, void *to, size_t size), (fd, to, size))
ON_FD(ssize_t, write, "write", (int fd, const void *from, size_t size), (fd, from, size))
ON_FD(ssize_t, pread, "pread", (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
ON_FD(ssize_t, pread64, "pread", (int fd, void *to, size_t size, off64_t at), (fd, to, size, at))
ON_FD(ssize_t, pwrite, "pwrite", (int fd, const void *from, size_t size, off_t at),
      (fd, from, size, at))
ON_FD(ssize_t, pwrite64, "pwrite", (int fd, const void *from, size_t size, off64_t at),
      (fd, from, size, at))
ON_FD(int, fsync, "fsync", (int fd), (fd))
ON_FD(int, fdatasync, "fsync", (int fd), (fd))
ON_FD(int, ftruncate, "ftruncate", (int fd, off_t size), (fd, size))
ON_FD(int, ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size))
ON_FD(int, flock, "flock", (int fd, int operation), (fd, operation))
ON_FD(int, fstat, "stat", (int fd, struct stat *info), (fd, info))
ON_FD(int, fchmod, "chmod", (int fd, mode_t mode), (fd, mode))
ON_FD(int, fallocate, "fallocate", (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
ON_FD(int, fallocate64, "fallocate", (int fd, int mode, off64_t at, off64_t size),
      (fd, mode, at, size))

int close(int fd)
{
    bool counts = is_ours(fd);
    if (fd >= 0 && fd < FDS) {
        atomic_store(&ours[fd], false);
    }
    int result = NEXT(close)(fd);
    return counts && fails("close") ? -1 : result;
}

int rename(const char *from, const char *to)
{
    return below(to) && fails("rename") ? -1 : NEXT(rename)(from, to);
}

int link(const char *from, const char *to)
{
    return below(to) && fails("rename") ? -1 : NEXT(link)(from, to);
}

/* renameat2 has no function in older C libraries. */
long syscall(long number, ...)
{
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(list, long);
    }
    va_end(list);
    if (number == SYS_renameat2 && below((const char *)a[3]) && fails("rename")) {
        return -1;
    }
    return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- threads */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    return fails("pthread_create") ? fail_errno
                                   : NEXT(pthread_create)(thread, attributes, run, argument);
}

/* ---- memory */

#ifndef FAULT_WITHOUT_MEMORY
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static bool memory_fails(const void *caller)
{
    Dl_info info;
    if (!atomic_load(&ready) || busy || !listed("malloc")) {
        return false;
    }
    busy = true;
    bool counts =
        dladdr(caller, &info) != 0 && info.dli_fname != NULL &&
        (strstr(info.dli_fname, "engram") != NULL || strstr(info.dli_fname, "libhdf5") != NULL);
    busy = false;
    if (counts && fails("malloc")) {
        errno = ENOMEM;
        return true;
    }
    return false;
}

void *malloc(size_t size)
{
    return memory_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return memory_fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return memory_fails(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || memory_fails(__builtin_return_address(0))) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, bytes);
}

int posix_memalign(void **to, size_t alignment, size_t size)
{
    void *made =
        memory_fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
    if (made == NULL) {
        return ENOMEM;
    }
    *to = made;
    return 0;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memory_fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}

char *strndup(const char *text, size_t limit)
{
    size_t size = strnlen(text, limit);
    char *copy = memory_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size + 1);
    if (copy != NULL) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

/* What allocates on the program's behalf. */
int asprintf(char **to, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int size = memory_fails(__builtin_return_address(0)) ? -1 : vasprintf(to, format, list);
    va_end(list);
    return size;
}

int __asprintf_chk(char **to, int flag, const char *format, ...);
int __asprintf_chk(char **to, int flag, const char *format, ...)
{
    (void)flag;
    va_list list;
    va_start(list, format);
    int size = memory_fails(__builtin_return_address(0)) ? -1 : vasprintf(to, format, list);
    va_end(list);
    return size;
}

ssize_t __getdelim(char **line, size_t *size, int end, FILE *stream);
ssize_t __getdelim(char **line, size_t *size, int end, FILE *stream)
{
    return memory_fails(__builtin_return_address(0)) ? -1
                                                     : NEXT(__getdelim)(line, size, end, stream);
}

char *realpath(const char *path, char *to)
{
    return to == NULL && memory_fails(__builtin_return_address(0)) ? NULL
                                                                   : NEXT(realpath)(path, to);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fd < 0 && memory_fails(__builtin_return_address(0))
               ? MAP_FAILED
               : NEXT(mmap)(at, size, protection, flags, fd, offset);
}

void *libdeflate_alloc_decompressor(void);
void *libdeflate_alloc_decompressor(void)
{
    return memory_fails(__builtin_return_address(0)) ? NULL : NEXT(libdeflate_alloc_decompressor)();
}
#endif

/* ---- calls of HDF5: on the way to the real function, its arguments untouched; a failure instead.
 * FAULT_H5 is a file of lines X(number, name, failure), of all that the program calls. Only its own
 * calls get here: within libhdf5 they are bound directly. */

#if defined(__x86_64__) && defined(FAULT_H5)
enum {
#define X(number, name, failure) TO_##name,
#include FAULT_H5
#undef X
    H5_COUNT
};

static const struct {
    const char *name;
    long failure;
} h5_calls[] = {
#define X(number, name, failure) {#name, failure},
#include FAULT_H5
#undef X
};

/* The function to go on with; NULL: there is none, and the result is in `failure`. */
__attribute__((used)) static void *h5_target(long number, long *failure)
{
    static _Atomic(void *) found[H5_COUNT];
    void *target = atomic_load(&found[number]);
    if (target == NULL) {
        target = next(h5_calls[number].name);
        atomic_store(&found[number], target);
    }
    *failure = h5_calls[number].failure;
    return fails_as("h5", h5_calls[number].name) ? NULL : target;
}

__asm__(".text\n"
        "fault_h5:\n"
        "  push %rdi\n  push %rsi\n  push %rdx\n  push %rcx\n  push %r8\n  push %r9\n"
        "  sub $24, %rsp\n  movsd %xmm0, (%rsp)\n"
        "  mov %rax, %rdi\n  lea 8(%rsp), %rsi\n  call h5_target\n"
        "  movsd (%rsp), %xmm0\n  mov 8(%rsp), %r11\n  add $24, %rsp\n"
        "  pop %r9\n  pop %r8\n  pop %rcx\n  pop %rdx\n  pop %rsi\n  pop %rdi\n"
        "  test %rax, %rax\n  jz 1f\n  jmp *%rax\n"
        "1: mov %r11, %rax\n  ret\n");
#define X(number, name, failure)                                                                   \
    __asm__(".globl " #name "\n.type " #name ", @function\n" #name ":\n  mov $" #number            \
            ", %eax\n  jmp fault_h5\n");
#include FAULT_H5
#endif
