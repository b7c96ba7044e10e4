// Counts what a process allocates, for remusd's benchmark (B10). A library that is loaded before all others (LD_PRELOAD, ld.so(8)):
// its malloc and the rest of that family come first, count, and have glibc do the work.
//
// REMUSD_BENCH_ALLOCATIONS names a folder. Each process makes a file in it, named with its process number, and counts in the page that
// the file has: three numbers of 64 bits, so that whoever maps it too can look at any time without disturbing anybody:
//   0  calls that ask for memory, since the process began
//   8  the bytes that they asked for
//  16  how many of the next calls are told on standard error, each with its backtrace; for the one who looks to set
// Without the variable it counts for nobody.
#define _GNU_SOURCE
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { page_size = 4096, deepest = 48 };

// glibc's own (malloc/malloc.c), under the names that nobody replaces.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void *__libc_valloc(size_t size);
extern void *__libc_pvalloc(size_t size);

struct page {
    _Atomic uint64_t calls, bytes;
    _Atomic int64_t told;
};
_Static_assert(sizeof(struct page) == 24, "as others read it");

// Until there is a file.
static struct page early;
static struct page *_Atomic counted = &early;
// In memory that every thread has from its start: getting it allocates nothing.
static __thread bool telling __attribute__((tls_model("initial-exec")));

static void tell(size_t size) {
    static pthread_mutex_t one_by_one = PTHREAD_MUTEX_INITIALIZER;
    void *frames[deepest];
    char name[16] = "", line[128];
    int code = errno;
    telling = true;
    prctl(PR_GET_NAME, name);
    int count = backtrace(frames, deepest);
    int length = snprintf(line, sizeof line, "\nallocation of %zu bytes in %s of process %d\n", size, name, (int)getpid());
    pthread_mutex_lock(&one_by_one);
    if (write(STDERR_FILENO, line, (size_t)length) == length) backtrace_symbols_fd(frames, count, STDERR_FILENO);
    pthread_mutex_unlock(&one_by_one);
    telling = false;
    errno = code;
}

static void count(size_t size) {
    struct page *page = atomic_load_explicit(&counted, memory_order_relaxed);
    atomic_fetch_add_explicit(&page->calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&page->bytes, size, memory_order_relaxed);
    if (atomic_load_explicit(&page->told, memory_order_relaxed) <= 0 || telling) return;
    if (atomic_fetch_sub_explicit(&page->told, 1, memory_order_relaxed) > 0) tell(size);
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("REMUSD_BENCH_ALLOCATIONS");
    char path[PATH_MAX];
    if (!folder || snprintf(path, sizeof path, "%s/%d", folder, (int)getpid()) >= (int)sizeof path) return;
    // The first backtrace loads what it needs (backtrace(3)).
    void *frame[1];
    backtrace(frame, 1);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return;
    void *memory = MAP_FAILED;
    if (ftruncate(file, page_size) == 0) memory = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) return;
    struct page *page = memory;
    atomic_store(&page->calls, atomic_load(&early.calls));
    atomic_store(&page->bytes, atomic_load(&early.bytes));
    atomic_store(&page->told, 0);
    atomic_store(&counted, page);
}

void *malloc(size_t size) {
    count(size);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count(number * size);
    return __libc_calloc(number, size);
}

// glibc's reallocarray comes here too.
void *realloc(void *old, size_t size) {
    count(size);
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
    count(size);
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count(size);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
    int code = errno;
    count(size);
    void *found = __libc_memalign(alignment, size);
    errno = code;
    if (!found) return ENOMEM;
    *memory = found;
    return 0;
}

void *valloc(size_t size) {
    count(size);
    return __libc_valloc(size);
}

void *pvalloc(size_t size) {
    count(size);
    return __libc_pvalloc(size);
}
