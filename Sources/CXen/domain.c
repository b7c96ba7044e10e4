#include "internal.h"

#include <poll.h>
#include <stdio.h>

// ---- The interface

static void keep_message(xentoollog_logger *logger, xentoollog_level level, int code, const char *context,
                         const char *format, va_list arguments) {
    (void)code;
    (void)context;
    struct CXen *xen = (struct CXen *)logger;
    if (level >= XTL_WARN) vsnprintf(xen->message, sizeof xen->message, format, arguments);
}

static void forget_nothing(xentoollog_logger *logger) { (void)logger; }

CXen *CXen_open(int *error) {
    CXen *xen = calloc(1, sizeof *xen);
    if (!xen) {
        *error = ENOMEM;
        return NULL;
    }
    xen->logger.vmessage = keep_message;
    xen->logger.destroy = forget_nothing;
    errno = 0;
    xen->control = X.xc_interface_open(&xen->logger, &xen->logger, 0);
    if (!xen->control) {
        *error = CXen_errno();
        free(xen);
        return NULL;
    }
    return xen;
}

void CXen_close(CXen *xen) {
    X.xc_interface_close(xen->control);
    free(xen);
}

const char *CXen_message(CXen *xen) { return xen->message; }

int CXen_version(CXen *xen, unsigned *major, unsigned *minor) {
    int version = X.xc_version(xen->control, XENVER_version, NULL);
    if (version < 0) return CXen_errno();
    *major = (unsigned)version >> 16;
    *minor = (unsigned)version & 0xffff;
    return 0;
}

int CXen_has_shadow(CXen *xen, bool *has) {
    xc_physinfo_t info = {0};
    errno = 0;
    if (X.xc_physinfo(xen->control, &info)) return CXen_errno();
    *has = info.capabilities & XEN_SYSCTL_PHYSCAP_shadow;
    return 0;
}

// ---- Domains

static void fill(CXen_domain *domain, const xc_domaininfo_t *info) {
    domain->domid = info->domain;
    domain->is_hvm = info->flags & XEN_DOMINF_hvm_guest;
    domain->is_dying = info->flags & XEN_DOMINF_dying;
    domain->is_paused = info->flags & XEN_DOMINF_paused;
    domain->is_shut_down = info->flags & XEN_DOMINF_shutdown;
    domain->has_hap = info->flags & XEN_DOMINF_hap;
    domain->shutdown_reason = info->flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask;
    domain->pages = info->tot_pages;
    domain->most_pages = info->max_pages;
    domain->shared_info_frame = info->shared_info_frame;
    domain->highest_vcpu = info->max_vcpu_id == XEN_INVALID_MAX_VCPU_ID ? 0 : info->max_vcpu_id;
    memcpy(domain->uuid, info->handle, 16);
}

int CXen_domain_get(CXen *xen, uint32_t domid, CXen_domain *domain) {
    xc_domaininfo_t info;
    errno = 0;
    int count = X.xc_domain_getinfolist(xen->control, domid, 1, &info);
    if (count < 0) return CXen_errno();
    // Asked for a domain that is not there, Xen tells of the next one.
    if (count != 1 || info.domain != domid) return ENOENT;
    fill(domain, &info);
    return 0;
}

int CXen_domain_list(CXen *xen, uint32_t first, CXen_domain *domains, int count) {
    xc_domaininfo_t *infos = calloc((size_t)count, sizeof *infos);
    if (!infos) return -ENOMEM;
    errno = 0;
    int found = X.xc_domain_getinfolist(xen->control, first, (unsigned)count, infos);
    int result = found < 0 ? -CXen_errno() : found;
    for (int i = 0; i < found; i++) fill(&domains[i], &infos[i]);
    free(infos);
    return result;
}

int CXen_domain_resume(CXen *xen, uint32_t domid) {
    errno = 0;
    return X.xc_domain_resume(xen->control, domid, 1) ? CXen_errno() : 0;
}

int CXen_domain_suspend(CXen *xen, uint32_t domid) {
    errno = 0;
    return X.xc_domain_shutdown(xen->control, domid, CXen_SUSPEND) ? CXen_errno() : 0;
}

int CXen_domain_pause(CXen *xen, uint32_t domid) {
    errno = 0;
    return X.xc_domain_pause(xen->control, domid) ? CXen_errno() : 0;
}

int CXen_domain_unpause(CXen *xen, uint32_t domid) {
    errno = 0;
    return X.xc_domain_unpause(xen->control, domid) ? CXen_errno() : 0;
}

int CXen_domain_destroy(CXen *xen, uint32_t domid) {
    errno = 0;
    return X.xc_domain_destroy(xen->control, domid) ? CXen_errno() : 0;
}

int CXen_domain_subscribe(CXen *xen, uint32_t domid, uint32_t port) {
    errno = 0;
    return X.xc_domain_subscribe_for_suspend(xen->control, domid, port) ? CXen_errno() : 0;
}

int CXen_domain_width(CXen *xen, uint32_t domid, unsigned *width) {
    errno = 0;
    return X.xc_domain_get_guest_width(xen->control, domid, width) ? CXen_errno() : 0;
}

int CXen_domain_frames(CXen *xen, uint32_t domid, uint64_t *frames) {
    xen_pfn_t count = 0;
    errno = 0;
    if (X.xc_domain_nr_gpfns(xen->control, domid, &count) < 0) return CXen_errno();
    *frames = count;
    return 0;
}

int CXen_domain_vnuma(CXen *xen, uint32_t domid) {
    uint32_t nodes = 0, ranges = 0, vcpus = 0;
    errno = 0;
    int result = X.xc_domain_getvnuma(xen->control, domid, &nodes, &ranges, &vcpus, NULL, NULL, NULL);
    if (result == 0 || errno == ENOBUFS) return 0;
    return errno == EOPNOTSUPP ? ENODATA : CXen_errno();
}

int CXen_domain_unpopulated(CXen *xen, uint32_t domid, uint64_t *entries) {
    uint64_t pages, cached;
    errno = 0;
    return X.xc_domain_get_pod_target(xen->control, domid, &pages, &cached, entries) ? CXen_errno() : 0;
}

// ---- The suspend event channel

struct CXen_channel {
    xenevtchn_handle *events;
    uint32_t domid;
    int port;
    int lock;
};

CXen_channel *CXen_channel_open(CXen *xen, uint32_t domid, int port, int *error) {
    CXen_channel *channel = calloc(1, sizeof *channel);
    if (!channel) {
        *error = ENOMEM;
        return NULL;
    }
    channel->domid = domid;
    errno = 0;
    channel->events = X.xenevtchn_open(&xen->logger, 0);
    if (!channel->events) {
        *error = CXen_errno();
        free(channel);
        return NULL;
    }
    channel->port = X.xc_suspend_evtchn_init_exclusive(xen->control, channel->events, domid, port, &channel->lock);
    if (channel->port < 0) {
        *error = CXen_errno();
        X.xenevtchn_close(channel->events);
        free(channel);
        return NULL;
    }
    return channel;
}

int CXen_channel_descriptor(CXen_channel *channel) { return X.xenevtchn_fd(channel->events); }

int CXen_channel_notify(CXen_channel *channel) {
    errno = 0;
    return X.xenevtchn_notify(channel->events, (evtchn_port_t)channel->port) ? CXen_errno() : 0;
}

void CXen_channel_drain(CXen_channel *channel) {
    // xenevtchn_pending may block even if the descriptor does not (its header says so).
    struct pollfd entry = {.fd = X.xenevtchn_fd(channel->events), .events = POLLIN};
    while (poll(&entry, 1, 0) > 0) {
        xenevtchn_port_or_error_t port = X.xenevtchn_pending(channel->events);
        if (port < 0) return;
        X.xenevtchn_unmask(channel->events, (evtchn_port_t)port);
    }
}

void CXen_channel_close(CXen *xen, CXen_channel *channel) {
    X.xc_suspend_evtchn_release(xen->control, channel->events, channel->domid, channel->port, &channel->lock);
    X.xc_domain_subscribe_for_suspend(xen->control, channel->domid, 0);
    X.xenevtchn_close(channel->events);
    free(channel);
}
