#ifndef CLINUX_SHIM_H
#define CLINUX_SHIM_H

// What Swift's Glibc module hides or cannot import. Every name that is ours is prefixed CLinux_.
// The Swift compiler does not define _GNU_SOURCE by itself.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

// Swift's Glibc module is built without _GNU_SOURCE and so names fd_set's member __fds_bits; the two
// definitions must agree, or importing both modules fails.
#include <features.h>
#undef __USE_XOPEN
#include <sys/select.h>
#define __USE_XOPEN 1

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

// ---- userfaultfd and pidfd: system calls without a wrapper in glibc 2.36 (syscall() is variadic).

static inline int CLinux_userfaultfd(int flags) { return (int)syscall(SYS_userfaultfd, flags); }
static inline int CLinux_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
static inline int CLinux_pidfd_send_signal(int pidfd, int sig) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}

// ---- accept4() takes a transparent union under _GNU_SOURCE, which Swift imports as a struct.

static inline int CLinux_accept4(int listener, int flags) { return accept4(listener, NULL, NULL, flags); }

// ---- environ is declared by Glibc's module too, which makes its plain name ambiguous.

static inline char **CLinux_environ(void) { return environ; }

// ---- Flags of timerfd_create() are an enumeration, whose members Swift imports with a type of their own.

static const int CLinux_TFD_CLOEXEC = TFD_CLOEXEC;
static const int CLinux_TFD_NONBLOCK = TFD_NONBLOCK;

// ---- ppoll() is hidden behind _GNU_SOURCE.

static inline int CLinux_ppoll(struct pollfd *entries, unsigned long count, const struct timespec *timeout) {
    return ppoll(entries, count, timeout, NULL);
}

// ---- cpu_set_t is made and read by macros.

static inline int CLinux_pin(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof set, &set);
}
static inline int CLinux_may_run_on(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_ISSET(processor, &set);
}
static inline int CLinux_processor(void) { return sched_getcpu(); }
// Runs on those of `processors` that are not `avoided`.
static inline int CLinux_run_beside(int avoided, const int *processors, int count) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < count; i++)
        if (processors[i] != avoided) CPU_SET(processors[i], &set);
    return sched_setaffinity(0, sizeof set, &set);
}

// ---- prctl() is variadic.

static inline int CLinux_prctl(int option, unsigned long argument) {
    return prctl(option, argument, 0UL, 0UL, 0UL);
}

// ---- What the kernel knows of a TCP connection: struct tcp_info of linux/tcp.h, which cannot be included beside
// netinet/tcp.h, whose own ends at tcpi_total_retrans. Up to tcpi_notsent_bytes (Linux 4.6).

struct CLinux_tcp_info {
    uint8_t state, ca_state, retransmits, probes, backoff, options, window_scales, flags;
    uint32_t rto, ato, snd_mss, rcv_mss;
    uint32_t unacked, sacked, lost, retrans, fackets;
    uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
    uint32_t rcv_rtt, rcv_space;
    uint32_t total_retrans;
    uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    uint32_t segs_out, segs_in;
    uint32_t notsent_bytes, min_rtt;
};
_Static_assert(offsetof(struct CLinux_tcp_info, pacing_rate) == sizeof(struct tcp_info), "struct tcp_info of netinet/tcp.h");
_Static_assert(sizeof(struct CLinux_tcp_info) == 152, "struct tcp_info of linux/tcp.h up to tcpi_min_rtt");

// Bytes that the peer has not acknowledged: SIOCOUTQ of linux/sockios.h, which Glibc's module does not have.
static inline int CLinux_unacknowledged(int socket, int *bytes) { return ioctl(socket, SIOCOUTQ, bytes); }

// ---- PAGEMAP_SCAN: Linux 6.7, newer than Debian 12's headers (linux/fs.h, struct pm_scan_arg).

struct CLinux_page_region {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};

struct CLinux_pm_scan_arg {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};
_Static_assert(sizeof(struct CLinux_page_region) == 24, "struct page_region of linux/fs.h");
_Static_assert(sizeof(struct CLinux_pm_scan_arg) == 96, "struct pm_scan_arg of linux/fs.h");

#define CLINUX_PAGEMAP_SCAN _IOWR('f', 16, struct CLinux_pm_scan_arg)
static const uint64_t CLinux_PAGE_IS_WRITTEN = 1 << 1;
static const uint64_t CLinux_PAGE_IS_PRESENT = 1 << 3;
static const uint64_t CLinux_PAGE_IS_SWAPPED = 1 << 4;
static const uint64_t CLinux_PM_SCAN_WP_MATCHING = 1 << 0;
static const uint64_t CLinux_PM_SCAN_CHECK_WPASYNC = 1 << 1;

static inline long CLinux_pagemap_scan(int fd, struct CLinux_pm_scan_arg *argument) {
    return ioctl(fd, CLINUX_PAGEMAP_SCAN, argument);
}

// ---- userfaultfd features newer than Debian 12's headers (linux/userfaultfd.h), and its ioctl numbers,
// which are macros with sizeof inside.

static const uint64_t CLinux_UFFD_FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12;
static const uint64_t CLinux_UFFD_FEATURE_WP_UNPOPULATED = 1 << 13;
static const uint64_t CLinux_UFFD_FEATURE_WP_ASYNC = 1 << 15;
static const int CLinux_UFFD_USER_MODE_ONLY = 1;

static inline int CLinux_uffdio_api(int fd, struct uffdio_api *argument) {
    return ioctl(fd, UFFDIO_API, argument);
}
static inline int CLinux_uffdio_register(int fd, struct uffdio_register *argument) {
    return ioctl(fd, UFFDIO_REGISTER, argument);
}

#endif
