// The peer of remusd's benchmark: Xen's own checkpoint loop (xc_domain_save of Debian's libxenguest 4.17, XC_STREAM_REMUS), as
// it is, on a domain that is memory of this process.
//
// libxenguest asks a hypervisor through functions of libxenctrl, libxencall and libxenforeignmemory. This program defines those
// that a save uses; being the executable, its definitions come first (ld.so(8)). They answer for a small HVM guest, and cost as
// little as they can: suspending and resuming is a flag, state and dirty bitmap are at hand. Only mapping is charged: as one
// copy of the page, which is what it cost where it was measured (Cully et al., Remus, NSDI 2008, section 2.3). The guest writes
// what the guest of remusd's side writes (Sources/Benchmark/Guest/PageWriter.swift).
//
// Usage: libxenguest-peer unix|tcp PAGES FILLED PRIMARY-CPU STANDBY-CPU, with a control socket as descriptor 3, which says
// "play PAGES EPOCHS SEED REST", REST in microseconds. It answers "ready" once the first checkpoint is acknowledged; to each
// order a line "sample PAUSE COMMIT" an epoch, in nanoseconds from the suspend on, then "played PRIMARY STANDBY", in nanoseconds of
// processor time: the primary's without the guest's own, from the first epoch's acknowledgement to the last's; the standby's of the
// whole order. It ends with the socket.
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <xencall.h>
#include <xenctrl.h>
#include <xenforeignmemory.h>
#include <xenguest.h>

#include "peer.h"

#define UNUSED __attribute__((unused))

enum { page_size = 4096, page_words = 512, words_written = 8, context_size = 8192, control = 3 };

// ---- The guest.

static struct {
    size_t pages;
    uint64_t *memory;
    uint64_t *dirty;     // Written since the log was cleaned.
    uint64_t *populated; // Has RAM.
    size_t dirty_count;
    bool cleaned; // The log was read, and is empty from then on.
    bool suspended;
    uint64_t random; // SplitMix64's state.
} guest;

static uint64_t draw(void) {
    uint64_t z = guest.random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static bool has(const uint64_t *set, size_t pfn) { return set[pfn / 64] >> (pfn % 64) & 1; }
static void add(uint64_t *set, size_t pfn) { set[pfn / 64] |= (uint64_t)1 << (pfn % 64); }

// Emptying the log costs the guest's time, not the pause, as on remusd's side.
static void empty_log(void) {
    if (!guest.cleaned) return;
    memset(guest.dirty, 0, guest.pages / 8);
    guest.dirty_count = 0;
    guest.cleaned = false;
}

static void write_pages(size_t count) {
    empty_log();
    while (count > 0) {
        size_t pfn = draw() % guest.pages;
        if (has(guest.dirty, pfn)) continue;
        add(guest.dirty, pfn);
        add(guest.populated, pfn);
        guest.dirty_count++;
        for (int i = 0; i < words_written; i++) {
            size_t word = draw() % page_words;
            guest.memory[pfn * page_words + word] = draw();
        }
        count--;
    }
}

static void make_guest(size_t pages, size_t filled) {
    guest.pages = pages;
    guest.memory = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (guest.memory == MAP_FAILED) die("make the guest's memory");
    madvise(guest.memory, pages * page_size, MADV_NOHUGEPAGE);
    guest.dirty = calloc((pages + 63) / 64, 8);
    guest.populated = calloc((pages + 63) / 64, 8);
    if (!guest.dirty || !guest.populated) die("make the guest's bitmaps");
    guest.random = 1;
    for (size_t i = 0; i < filled * page_words; i++) guest.memory[i] = draw();
    for (size_t pfn = 0; pfn < filled; pfn++) add(guest.populated, pfn);
}

// ---- What a hypervisor would answer.

void *xc__hypercall_buffer_alloc(UNUSED xc_interface *xch, xc_hypercall_buffer_t *buffer, size_t size) {
    return buffer->hbuf = malloc(size);
}
void xc__hypercall_buffer_free(UNUSED xc_interface *xch, xc_hypercall_buffer_t *buffer) { free(buffer->hbuf); }
void *xc__hypercall_buffer_alloc_pages(UNUSED xc_interface *xch, xc_hypercall_buffer_t *buffer, int count) {
    buffer->hbuf = aligned_alloc(page_size, (size_t)count * page_size);
    if (buffer->hbuf) memset(buffer->hbuf, 0, (size_t)count * page_size);
    return buffer->hbuf;
}
void xc__hypercall_buffer_free_pages(UNUSED xc_interface *xch, xc_hypercall_buffer_t *buffer, UNUSED int count) {
    free(buffer->hbuf);
}
int xc__hypercall_bounce_pre(UNUSED xc_interface *xch, xc_hypercall_buffer_t *buffer) {
    buffer->hbuf = buffer->ubuf;
    return 0;
}
void xc__hypercall_bounce_post(UNUSED xc_interface *xch, UNUSED xc_hypercall_buffer_t *buffer) {}

int xc_version(UNUSED xc_interface *xch, UNUSED int command, UNUSED void *argument) { return 4 << 16 | 17; }

int xc_domain_getinfo(UNUSED xc_interface *xch, uint32_t domain, UNUSED unsigned most, xc_dominfo_t *info) {
    memset(info, 0, sizeof *info);
    info->domid = domain;
    info->hvm = 1;
    info->hap = 1;
    info->nr_pages = guest.pages;
    info->shutdown = guest.suspended;
    info->shutdown_reason = guest.suspended ? SHUTDOWN_suspend : 0;
    return 1;
}
int xc_domain_nr_gpfns(UNUSED xc_interface *xch, UNUSED uint32_t domain, xen_pfn_t *count) {
    *count = guest.pages;
    return 0;
}
int xc_shadow_control(UNUSED xc_interface *xch, UNUSED uint32_t domain, UNUSED unsigned operation, UNUSED unsigned *megabytes,
                      UNUSED unsigned mode) {
    return 0;
}

long long xc_logdirty_control(UNUSED xc_interface *xch, UNUSED uint32_t domain, unsigned operation,
                              xc_hypercall_buffer_t *bitmap, unsigned long pages, UNUSED unsigned mode,
                              xc_shadow_op_stats_t *statistics) {
    size_t bytes = pages / 8;
    empty_log();
    if (statistics) {
        statistics->fault_count = 0;
        statistics->dirty_count = guest.dirty_count;
    }
    if (bitmap) {
        xc_hypercall_buffer_t *given = bitmap->param_shadow ? bitmap->param_shadow : bitmap;
        memcpy(given->hbuf, guest.dirty, bytes);
    }
    if (operation == XEN_DOMCTL_SHADOW_OP_CLEAN) guest.cleaned = true;
    return (long long)pages;
}

int xc_get_pfn_type_batch(UNUSED xc_interface *xch, UNUSED uint32_t domain, unsigned count, xen_pfn_t *pfns) {
    for (unsigned i = 0; i < count; i++)
        pfns[i] = has(guest.populated, pfns[i]) ? XEN_DOMCTL_PFINFO_NOTAB : XEN_DOMCTL_PFINFO_XTAB;
    return 0;
}

void *xenforeignmemory_map(UNUSED xenforeignmemory_handle *handle, UNUSED uint32_t domain, UNUSED int protection, size_t count,
                           const xen_pfn_t pfns[], int errors[]) {
    static uint8_t *window;
    enum { most = 1024 };
    if (!window) {
        window = mmap(NULL, most * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (window == MAP_FAILED) die("make a window");
    }
    if (count > most) return NULL;
    for (size_t i = 0; i < count; i++) {
        memcpy(window + i * page_size, guest.memory + pfns[i] * page_words, page_size);
        errors[i] = 0;
    }
    return window;
}
int xenforeignmemory_unmap(UNUSED xenforeignmemory_handle *handle, UNUSED void *address, UNUSED size_t count) { return 0; }

int xc_domain_get_tsc_info(UNUSED xc_interface *xch, UNUSED uint32_t domain, uint32_t *mode, uint64_t *elapsed, uint32_t *khz,
                           uint32_t *incarnation) {
    *mode = 0;
    *elapsed = 1;
    *khz = 1000000;
    *incarnation = 1;
    return 0;
}
int xc_domain_hvm_getcontext(UNUSED xc_interface *xch, UNUSED uint32_t domain, uint8_t *buffer, UNUSED uint32_t size) {
    if (buffer) memset(buffer, 7, context_size);
    return context_size;
}
int xc_hvm_param_get(UNUSED xc_interface *xch, UNUSED uint32_t domain, uint32_t parameter, uint64_t *value) {
    *value = parameter + 1;
    return 0;
}

int xc_domctl(UNUSED xc_interface *xch, struct xen_domctl *request) {
    if (request->cmd == XEN_DOMCTL_get_cpu_policy) {
        request->u.cpu_policy.nr_leaves = 0;
        request->u.cpu_policy.nr_msrs = 0;
    }
    return 0;
}
int xc_sysctl(UNUSED xc_interface *xch, struct xen_sysctl *request) {
    if (request->cmd == XEN_SYSCTL_get_cpu_policy) {
        request->u.cpu_policy.nr_leaves = 1024;
        request->u.cpu_policy.nr_msrs = 64;
    }
    return 0;
}
int xencall1(UNUSED xencall_handle *handle, unsigned operation, uint64_t argument) {
    if (operation == __HYPERVISOR_domctl) return xc_domctl(NULL, (struct xen_domctl *)(uintptr_t)argument);
    if (operation == __HYPERVISOR_sysctl) return xc_sysctl(NULL, (struct xen_sysctl *)(uintptr_t)argument);
    errno = ENOSYS;
    return -1;
}

// ---- What it has to say goes to standard error where it is an error, and nowhere else. That it ends when told to is none.

static bool ending;

void xc_report(UNUSED xc_interface *xch, UNUSED xentoollog_logger *logger, xentoollog_level level, UNUSED int code,
               const char *format, ...) {
    if (level < XTL_ERROR || ending) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}
void xc_report_error(UNUSED xc_interface *xch, UNUSED int code, const char *format, ...) {
    if (ending) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}
void xc_report_progress_single(UNUSED xc_interface *xch, UNUSED const char *doing) {}
void xc_report_progress_step(UNUSED xc_interface *xch, UNUSED unsigned long done, UNUSED unsigned long total) {}
const char *xc_set_progress_prefix(UNUSED xc_interface *xch, UNUSED const char *doing) { return NULL; }

// ---- The standby: reads records, and acknowledges a checkpoint with one byte once it has the whole of it. Less than any real one.

static void read_all(int from, void *target, size_t count) {
    for (char *at = target; count > 0;) {
        ssize_t got = read(from, at, count);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) _exit(0);
        at += got;
        count -= (size_t)got;
    }
}

static void stand_by(int from, int answers) {
    enum { room = 16 << 20 };
    uint8_t *body = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (body == MAP_FAILED) die("make room for records");
    // Image header, then domain header (libxc stream, "Headers").
    uint8_t headers[24 + 16];
    read_all(from, headers, sizeof headers);
    for (;;) {
        struct {
            uint32_t type, length;
        } record;
        read_all(from, &record, sizeof record);
        for (size_t left = ((size_t)record.length + 7) & ~(size_t)7; left > 0;) {
            size_t piece = left < room ? left : room;
            read_all(from, body, piece);
            left -= piece;
        }
        const uint32_t end = 0, checkpoint = 0xE;
        if (record.type == end) _exit(0);
        if (record.type == checkpoint && write(answers, "", 1) != 1) _exit(0);
    }
}

// ---- The checkpoints.

static struct {
    bool synced, playing;
    size_t pages, epochs, done;
    unsigned rest;
    uint64_t suspended, resumed;
    uint64_t (*samples)[2];
    int answers;
    // Processor time: when it began to count, and the guest's since then.
    uint64_t began, guest, standby_began;
    clockid_t standby;
} run;

static FILE *orders, *results;

static int suspend(UNUSED void *data) {
    guest.suspended = true;
    run.suspended = now();
    return 1;
}

static int resume(UNUSED void *data) {
    run.resumed = now();
    guest.suspended = false;
    return 1;
}

static void next_epoch(void) {
    uint64_t before = reading(CLOCK_PROCESS_CPUTIME_ID);
    write_pages(run.pages);
    if (run.rest > 0) usleep(run.rest);
    run.guest += reading(CLOCK_PROCESS_CPUTIME_ID) - before;
}

static int checkpoint(UNUSED void *data) {
    char byte;
    if (read(run.answers, &byte, 1) != 1) return 0;
    uint64_t acknowledged = now();
    if (!run.synced) {
        run.synced = true;
        fputs("ready\n", results);
    } else {
        run.samples[run.done][0] = run.resumed - run.suspended;
        run.samples[run.done][1] = acknowledged - run.suspended;
        uint64_t taken = reading(CLOCK_PROCESS_CPUTIME_ID);
        if (run.done == 0) {
            run.began = taken;
            run.guest = 0;
        }
        taken -= run.began + run.guest;
        if (++run.done < run.epochs) {
            next_epoch();
            return 1;
        }
        // By then the standby sleeps: the time of a running process is known from its last tick only.
        usleep(1000);
        uint64_t standby = reading(run.standby) - run.standby_began;
        for (size_t i = 0; i < run.epochs; i++)
            fprintf(results, "sample %llu %llu\n", (unsigned long long)run.samples[i][0], (unsigned long long)run.samples[i][1]);
        fprintf(results, "played %llu %llu\n", (unsigned long long)taken, (unsigned long long)standby);
    }
    fflush(results);
    unsigned long long seed;
    if (fscanf(orders, " play %zu %zu %llu %u", &run.pages, &run.epochs, &seed, &run.rest) != 4 || run.epochs < 1
        || run.pages > guest.pages) {
        ending = true;
        return 0;
    }
    free(run.samples);
    run.samples = calloc(run.epochs, sizeof *run.samples);
    if (!run.samples) die("make room for samples");
    run.done = 0;
    guest.random = seed;
    run.standby_began = reading(run.standby);
    next_epoch();
    return 1;
}

static int log_device_model(UNUSED uint32_t domain, UNUSED unsigned enable, UNUSED void *data) { return 0; }

// ---- Sockets as remusd's: much room in both directions, nothing held back.

static void widen(int socket, int option, int privileged) {
    int bytes = 4 << 20;
    if (setsockopt(socket, SOL_SOCKET, privileged, &bytes, sizeof bytes) != 0)
        setsockopt(socket, SOL_SOCKET, option, &bytes, sizeof bytes);
}

static void connect_pair(bool tcp, int ends[2]) {
    if (!tcp) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) die("make a pair of sockets");
    } else {
        connect_loopback(ends);
    }
    widen(ends[0], SO_SNDBUF, SO_SNDBUFFORCE);
    widen(ends[1], SO_RCVBUF, SO_RCVBUFFORCE);
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "Usage: libxenguest-peer unix|tcp PAGES FILLED PRIMARY-CPU STANDBY-CPU\n");
        return 64;
    }
    size_t pages = strtoul(arguments[2], NULL, 10), filled = strtoul(arguments[3], NULL, 10);
    if (pages < 64 || pages % 64 != 0 || filled > pages) {
        fprintf(stderr, "libxenguest-peer: PAGES is a multiple of 64, and FILLED is no more\n");
        return 64;
    }
    orders = fdopen(control, "r");
    results = fdopen(dup(control), "w");
    if (!orders || !results) die("open the control socket");
    signal(SIGPIPE, SIG_IGN);

    int data[2], answers[2];
    connect_pair(strcmp(arguments[1], "tcp") == 0, data);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, answers) != 0) die("make a pair of sockets");
    pid_t standby = fork();
    if (standby < 0) die("start the standby");
    if (standby == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(data[0]);
        close(answers[0]);
        pin(atoi(arguments[5]));
        stand_by(data[1], answers[1]);
    }
    if (clock_getcpuclockid(standby, &run.standby) != 0) die("look at the standby's processor time");
    close(data[1]);
    close(answers[1]);
    pin(atoi(arguments[4]));
    run.answers = answers[0];
    make_guest(pages, filled);

    xc_interface *xch = xc_interface_open(NULL, NULL, XC_OPENFLAG_DUMMY);
    if (!xch) die("open libxenctrl");
    struct save_callbacks callbacks = {
        .suspend = suspend, .postcopy = resume, .checkpoint = checkpoint, .switch_qemu_logdirty = log_device_model};
    int code = xc_domain_save(xch, data[0], 1, XCFLAGS_LIVE, &callbacks, XC_STREAM_REMUS, -1);
    if (!run.synced) {
        fprintf(stderr, "libxenguest-peer: xc_domain_save ended with %d before the first checkpoint\n", code);
        return 1;
    }
    return 0;
}
