#ifndef CXEN_LIGHT_H
#define CXEN_LIGHT_H

// libxenlight (libxl) of Xen 4.17: what a standby asks of the toolstack's library. Loaded with dlopen, as all of Xen's.

#include <stddef.h>
#include <stdint.h>

/// Loads libxenlight and libxentoollog and finds every function that is used of them. Cheap when repeated; any thread.
/// Returns NULL when all are there, else what is missing, in words; the text lives as long as the process.
const char *CXen_light_load(void);

/// An open libxl context.
typedef struct CXen_light CXen_light;

/// Opens one: NULL where there is no Xen underneath, or no xenstore. Errors of libxl go to standard error.
CXen_light *CXen_light_open(void);
void CXen_light_close(CXen_light *light);

/// A domain as libxl_list_domain shows it.
typedef struct CXen_light_domain {
    uint8_t uuid[16];
    uint32_t domid;
    uint8_t paused;
    /// Whether all its vcpus are stopped for good, and why (xen/include/public/sched.h, SHUTDOWN_*).
    uint8_t shutdown;
    uint8_t shutdown_reason;
    uint8_t dying;
} CXen_light_domain;

/// Fills `domains` with at most `capacity` of all domains; returns how many there are, or -1.
int CXen_light_domains(CXen_light *light, CXen_light_domain *domains, int capacity);

/// The domid of that name, or -1.
int64_t CXen_light_domid(CXen_light *light, const char *name);

/// Memory that no domain has, in KiB. 0 when done, else libxl's error.
int CXen_light_free_memory(CXen_light *light, uint64_t *kib);

/// What a domain with this configuration (libxl's JSON) takes of it in all, in KiB: its RAM, its page tables and the rest.
int CXen_light_needed_memory(CXen_light *light, const char *json, uint64_t *kib);

/// Builds a domain from a checkpointed libxl stream (stream-v2.md, 13.3), read from `stream` until that ends after a whole
/// checkpoint: then it is built to its last and paused. `json` is libxl's configuration; `name` replaces its name. The
/// calling process must have no other children. Blocks. 0 when done, else libxl's error and there is no domain.
int CXen_light_build(CXen_light *light, const char *json, const char *name, int stream, uint32_t *domid);

/// Each: 0 when done, else libxl's error.
int CXen_light_rename(CXen_light *light, uint32_t domid, const char *from, const char *to);
int CXen_light_unpause(CXen_light *light, uint32_t domid);
int CXen_light_destroy(CXen_light *light, uint32_t domid);

/// Blocks until the domain shut down: the reason (SHUTDOWN_*); -1 when it was destroyed, -2 when it cannot be watched.
int CXen_light_await_end(CXen_light *light, uint32_t domid);

/// Creates a domain of that configuration (libxl's JSON) and lets it run. 0 when done, else libxl's error, and there is none.
/// libxl waits for children of its own: only in a process that has no others meanwhile.
int CXen_light_create(CXen_light *light, const char *json, uint32_t *domid);

#endif
