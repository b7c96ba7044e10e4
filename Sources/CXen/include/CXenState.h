#ifndef CXEN_STATE_H
#define CXEN_STATE_H

// The state of a suspended guest.

#include <stddef.h>
#include <stdint.h>

#include "CXenDomain.h"
#include "CXenMemory.h"

int CXen_tsc_info(CXen *xen, uint32_t domid, uint32_t *mode, uint64_t *nanoseconds, uint32_t *khz, uint32_t *incarnation);

/// Returns the bytes that the HVM context takes at most now, or a negative errno value.
long CXen_hvm_context_size(CXen *xen, uint32_t domid);
/// Returns the bytes written, or a negative errno value; -ENOSPC if there are more.
long CXen_hvm_context(CXen *xen, uint32_t domid, void *memory, size_t size);
/// Parameters that are asked for by name (xen/hvm/params.h): an interrupt by which drivers for Xen are called, and whether
/// the guest sleeps.
enum { CXen_CALLBACK_IRQ = 0, CXen_ACPI_S_STATE = 14 };
int CXen_hvm_param(CXen *xen, uint32_t domid, uint32_t index, uint64_t *value);

/// The most entries a policy has: leaves of 24 bytes (leaf, subleaf, eax, ebx, ecx, edx), MSRs of 16 (index, flags, value).
int CXen_policy_size(CXen *xen, uint32_t *leaves, uint32_t *msrs);
/// What processor the guest was told it has. The counts are room, then what is used.
int CXen_policy(CXen *xen, uint32_t domid, void *leaves, uint32_t *leaf_count, void *msrs, uint32_t *msr_count);

#endif
