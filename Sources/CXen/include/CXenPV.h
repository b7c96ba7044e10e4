#ifndef CXEN_PV_H
#define CXEN_PV_H

// What only PV guests need: the machine's frame table, and the registers of their vcpus.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "CXenDomain.h"
#include "CXenMemory.h"

/// Highest machine frame number.
int CXen_highest_frame(CXen *xen, uint64_t *frame);
/// Maps the table of machine frames to guest frames (xc_map_m2p), read-only, for machine frames up to `highest`: one
/// 64-bit word each. NULL with *error if that fails. Unmapped by CXen_unmap_frame_table.
const uint64_t *CXen_map_frame_table(CXen *xen, uint64_t highest, size_t *bytes, int *error);
void CXen_unmap_frame_table(const uint64_t *table, size_t bytes);
/// The machine frame where Xen's table for 32-bit guests begins (XENMEM_machphys_compat_mfn_list).
int CXen_compat_table_frame(CXen *xen, uint64_t *frame);

int CXen_vcpu_online(CXen *xen, uint32_t domid, uint32_t vcpu, bool *online);
/// The registers as Xen has them, machine frames in them (struct vcpu_guest_context): 5168 bytes.
int CXen_vcpu_context(CXen *xen, uint32_t domid, uint32_t vcpu, void *memory, size_t size);
/// The extended context (domctl get_ext_vcpucontext): at most 128 bytes. Returns its length or a negative errno value.
long CXen_vcpu_extended(CXen *xen, uint32_t domid, uint32_t vcpu, void *memory, size_t size);
/// The extended processor state (domctl getvcpuextstate): xcr0, xcr0_accum and the area. `buffer` is where Xen writes it.
/// Returns its length, 0 if there is none, or a negative errno value; -ENOSPC if it is longer than `size`.
long CXen_vcpu_xsave(CXen *xen, uint32_t domid, uint32_t vcpu, CXen_buffer *buffer, size_t size);
/// The registers of the model (domctl get_vcpu_msrs): 16 bytes each. Returns their number or a negative errno value.
long CXen_vcpu_msrs(CXen *xen, uint32_t domid, uint32_t vcpu, CXen_buffer *buffer, size_t size);

#endif
