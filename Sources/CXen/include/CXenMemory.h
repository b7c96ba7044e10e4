#ifndef CXEN_MEMORY_H
#define CXEN_MEMORY_H

// Guest memory: mapping it, what its pages are, which were written.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "CXenDomain.h"

/// Memory that a hypercall can work on: whole pages, locked.
typedef struct CXen_buffer CXen_buffer;
/// NULL if there is not enough.
CXen_buffer *CXen_buffer_new(CXen *xen, size_t bytes);
void *CXen_buffer_memory(CXen_buffer *buffer);
void CXen_buffer_free(CXen *xen, CXen_buffer *buffer);

/// Reserves address space of this many pages, all inaccessible; NULL if there is none.
void *CXen_reserve(size_t pages);
/// Gives reserved address space back, with everything that is mapped in it.
void CXen_unreserve(void *address, size_t pages);

/// Maps frames of the domain, read-only, at a page-aligned `address` in reserved space. A frame with errors[i] != 0 is
/// not there: touching it is a bus error. On failure the whole range is reserved again.
int CXen_map(CXen *xen, uint32_t domid, void *address, size_t count, const uint64_t *frames, int *errors);
/// Undoes CXen_map; the range is reserved again.
int CXen_unmap(void *address, size_t count);

/// The most frames CXen_types takes at once (xen-operations.md, section 10.8).
enum { CXen_TYPES_LIMIT = 1024 };
/// Asks what frames are (domctl getpageframeinfo3): the buffer holds `count` 64-bit frame numbers (gfns; MFNs of a PV
/// guest) and receives XEN_DOMCTL_PFINFO_* types, which are in bits 31 to 28.
int CXen_types(CXen *xen, uint32_t domid, CXen_buffer *buffer, size_t count);

/// Switches log-dirty on, with nothing dirty, whoever had it on.
int CXen_log_dirty_on(CXen *xen, uint32_t domid);
int CXen_log_dirty_off(CXen *xen, uint32_t domid);
/// How many bits of the bitmap are set; they stay (XEN_DOMCTL_SHADOW_OP_PEEK, xen/domctl.h). The domain is paused for that moment.
/// ENOMEM if Xen lost some.
int CXen_log_dirty_count(CXen *xen, uint32_t domid, uint32_t *dirty);
/// Reads the bitmap of `pages` pages into the buffer and clears it.
/// - final: the domain is suspended; adds what Xen itself has mapped for writing.
/// - dirty: how many bits Xen counted.
/// EMSGSIZE if Xen covered fewer pages than asked for; ENOMEM if it lost some.
int CXen_log_dirty_clean(CXen *xen, uint32_t domid, CXen_buffer *buffer, size_t pages, bool final, uint32_t *dirty);

#endif
