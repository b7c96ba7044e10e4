#ifndef CXEN_INTERNAL_H
#define CXEN_INTERNAL_H

// What the files of this target share. Not seen by Swift.

#include "CXen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xenctrl.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xenguest.h>
#include <xenstore.h>
#include <xentoollog.h>

#define CXEN_CONTROL(F) \
    F(xc_interface_open) F(xc_interface_close) F(xc_interface_fmem_handle) F(xc_version) F(xc_physinfo) F(xc_domctl) F(xc_memory_op) \
    F(xc_domain_getinfolist) F(xc_domain_destroy) F(xc_domain_shutdown) F(xc_domain_pause) F(xc_domain_unpause) \
    F(xc_domain_subscribe_for_suspend) F(xc_domain_get_guest_width) \
    F(xc_domain_nr_gpfns) F(xc_domain_getvnuma) F(xc_domain_get_pod_target) F(xc_shadow_control) F(xc_logdirty_control) \
    F(xc__hypercall_buffer_alloc_pages) F(xc__hypercall_buffer_free_pages) F(xc_domain_get_tsc_info) \
    F(xc_domain_hvm_getcontext) F(xc_hvm_param_get) F(xc_maximum_ram_page) F(xc_vcpu_getinfo) F(xc_vcpu_getcontext)
#define CXEN_GUEST(F) \
    F(xc_domain_resume) F(xc_suspend_evtchn_init_exclusive) F(xc_suspend_evtchn_release) F(xc_map_m2p) \
    F(xc_cpu_policy_get_size) F(xc_cpu_policy_init) F(xc_cpu_policy_get_domain) F(xc_cpu_policy_serialise) \
    F(xc_cpu_policy_destroy)
#define CXEN_MEMORY(F) F(xenforeignmemory_map2)
#define CXEN_EVENTS(F) \
    F(xenevtchn_open) F(xenevtchn_close) F(xenevtchn_fd) F(xenevtchn_notify) F(xenevtchn_pending) F(xenevtchn_unmask)
#define CXEN_STORE_FUNCTIONS(F) \
    F(xs_open) F(xs_close) F(xs_read) F(xs_write) F(xs_directory) F(xs_watch) F(xs_unwatch) F(xs_fileno) \
    F(xs_check_watch) F(xs_transaction_start) F(xs_transaction_end) F(xs_resume_domain)

/// Every function of Xen's libraries that is used here, under its own name.
struct CXen_functions {
#define MEMBER(name) __typeof__(name) *name;
    CXEN_CONTROL(MEMBER)
    CXEN_GUEST(MEMBER)
    CXEN_MEMORY(MEMBER)
    CXEN_EVENTS(MEMBER)
    CXEN_STORE_FUNCTIONS(MEMBER)
#undef MEMBER
};
extern struct CXen_functions X;

struct CXen {
    /// First, so that a logger is its CXen.
    xentoollog_logger logger;
    xc_interface *control;
    char message[256];
};

struct CXen_buffer {
    xc_hypercall_buffer_t hypercall;
    int pages;
};

/// errno after a call that failed; never 0.
static inline int CXen_errno(void) { return errno ? errno : EIO; }

#endif
