#ifndef CXEN_DOMAIN_H
#define CXEN_DOMAIN_H

// The hypervisor, domains, suspending them and letting them go on.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// An open privileged command interface, with its foreign memory handle.
typedef struct CXen CXen;

/// Opens the interface; NULL if that fails, with the reason in *error. Xen's own messages are kept for CXen_message.
CXen *CXen_open(int *error);
void CXen_close(CXen *xen);
/// What Xen's libraries said about the last failure, empty if nothing; valid until the next call.
const char *CXen_message(CXen *xen);

/// The hypervisor's version; refuses none.
int CXen_version(CXen *xen, unsigned *major, unsigned *minor);

/// Whether this Xen can track a PV guest's writes: that needs shadow paging, which not every build has.
int CXen_has_shadow(CXen *xen, bool *has);

/// Reasons in CXen_domain.shutdown_reason (xen/sched.h).
enum { CXen_POWEROFF = 0, CXen_REBOOT = 1, CXen_SUSPEND = 2, CXen_CRASH = 3, CXen_WATCHDOG = 4, CXen_SOFT_RESET = 5 };

/// What Xen knows of a domain (domctl getdomaininfo).
typedef struct CXen_domain {
    uint32_t domid;
    bool is_hvm, is_dying, is_paused, is_shut_down, has_hap;
    /// Of a domain that is_shut_down.
    uint32_t shutdown_reason;
    /// Pages it has now, and may have at most.
    uint64_t pages, most_pages;
    /// The machine frame of a PV guest's shared info.
    uint64_t shared_info_frame;
    uint32_t highest_vcpu;
    uint8_t uuid[16];
} CXen_domain;

/// ENOENT if there is no such domain.
int CXen_domain_get(CXen *xen, uint32_t domid, CXen_domain *domain);
/// Fills at most count entries with the domains from first on. Returns how many, or a negative errno value.
int CXen_domain_list(CXen *xen, uint32_t first, CXen_domain *domains, int count);

/// Lets a suspended guest run on as if the suspend had been cancelled (xc_domain_resume, fast).
int CXen_domain_resume(CXen *xen, uint32_t domid);
/// Suspends a guest without asking it: its vcpus stop where they are (xc_domain_shutdown).
int CXen_domain_suspend(CXen *xen, uint32_t domid);
/// Keeps a domain's vcpus from running until it is unpaused as often as it was paused, by whomever (XEN_DOMCTL_pausedomain).
int CXen_domain_pause(CXen *xen, uint32_t domid);
/// EINVAL if it is not paused.
int CXen_domain_unpause(CXen *xen, uint32_t domid);
/// Takes a domain away for good.
int CXen_domain_destroy(CXen *xen, uint32_t domid);
/// Whose event channel Xen signals on suspend; 0 for nobody's.
int CXen_domain_subscribe(CXen *xen, uint32_t domid, uint32_t port);

/// Words a PV guest's registers have: 4 or 8 bytes.
int CXen_domain_width(CXen *xen, uint32_t domid, unsigned *width);
/// Highest guest frame number + 1, of a guest that is not PV.
int CXen_domain_frames(CXen *xen, uint32_t domid, uint64_t *frames);
/// ENODATA if the guest has no virtual NUMA nodes.
int CXen_domain_vnuma(CXen *xen, uint32_t domid);
/// Pages a populate-on-demand guest has not been given yet.
int CXen_domain_unpopulated(CXen *xen, uint32_t domid, uint64_t *entries);

/// The suspend event channel that a guest offers on `port` (xc_suspend_evtchn_init_exclusive).
typedef struct CXen_channel CXen_channel;
CXen_channel *CXen_channel_open(CXen *xen, uint32_t domid, int port, int *error);
/// Readable when the guest may have suspended.
int CXen_channel_descriptor(CXen_channel *channel);
/// Asks the guest to suspend.
int CXen_channel_notify(CXen_channel *channel);
/// Takes a notification away, if there is one.
void CXen_channel_drain(CXen_channel *channel);
/// Gives the channel back and undoes the subscription.
void CXen_channel_close(CXen *xen, CXen_channel *channel);

#endif
