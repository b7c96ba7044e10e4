#include "internal.h"

_Static_assert(sizeof(vcpu_guest_context_x86_64_t) == 5168, "the blob of X86_PV_VCPU_BASIC");

int CXen_highest_frame(CXen *xen, uint64_t *frame) {
    unsigned long highest = 0;
    errno = 0;
    if (X.xc_maximum_ram_page(xen->control, &highest) < 0) return CXen_errno();
    *frame = highest;
    return 0;
}

/// Xen gives the table in pieces of 2 MiB (M2P_SHIFT in its headers).
static const size_t piece = 2 << 20;

const uint64_t *CXen_map_frame_table(CXen *xen, uint64_t highest, size_t *bytes, int *error) {
    errno = 0;
    xen_pfn_t *table = X.xc_map_m2p(xen->control, highest, PROT_READ, NULL);
    if (!table) {
        *error = CXen_errno();
        return NULL;
    }
    *bytes = ((highest + 1) * sizeof(uint64_t) + piece - 1) / piece * piece;
    return (const uint64_t *)table;
}

void CXen_unmap_frame_table(const uint64_t *table, size_t bytes) { munmap((void *)table, bytes); }

int CXen_compat_table_frame(CXen *xen, uint64_t *frame) {
    xen_pfn_t first = 0;
    struct xen_machphys_mfn_list list = {.max_extents = 1};
    set_xen_guest_handle_raw(list.extent_start, &first);
    errno = 0;
    if (X.xc_memory_op(xen->control, XENMEM_machphys_compat_mfn_list, &list, sizeof list)) return CXen_errno();
    *frame = first;
    return 0;
}

int CXen_vcpu_online(CXen *xen, uint32_t domid, uint32_t vcpu, bool *online) {
    xc_vcpuinfo_t info;
    errno = 0;
    if (X.xc_vcpu_getinfo(xen->control, domid, vcpu, &info)) return CXen_errno();
    *online = info.online;
    return 0;
}

int CXen_vcpu_context(CXen *xen, uint32_t domid, uint32_t vcpu, void *memory, size_t size) {
    vcpu_guest_context_any_t context;
    errno = 0;
    if (X.xc_vcpu_getcontext(xen->control, domid, vcpu, &context)) return CXen_errno();
    memcpy(memory, &context, size < sizeof context ? size : sizeof context);
    return 0;
}

long CXen_vcpu_extended(CXen *xen, uint32_t domid, uint32_t vcpu, void *memory, size_t size) {
    struct xen_domctl call = {.cmd = XEN_DOMCTL_get_ext_vcpucontext, .domain = (domid_t)domid};
    call.u.ext_vcpucontext.vcpu = vcpu;
    errno = 0;
    if (X.xc_domctl(xen->control, &call)) return -CXen_errno();
    size_t length = call.u.ext_vcpucontext.size;
    if (length > size || length > sizeof call.u.ext_vcpucontext) return -ENOSPC;
    memcpy(memory, &call.u.ext_vcpucontext, length);
    return (long)length;
}

long CXen_vcpu_xsave(CXen *xen, uint32_t domid, uint32_t vcpu, CXen_buffer *buffer, size_t size) {
    struct xen_domctl call = {.cmd = XEN_DOMCTL_getvcpuextstate, .domain = (domid_t)domid};
    call.u.vcpuextstate.vcpu = vcpu;
    errno = 0;
    // The first call tells the features and the most bytes there can be.
    if (X.xc_domctl(xen->control, &call)) return -CXen_errno();
    if (!call.u.vcpuextstate.xfeature_mask) return 0;
    if (call.u.vcpuextstate.size > size) return -ENOSPC;
    set_xen_guest_handle_raw(call.u.vcpuextstate.buffer, CXen_buffer_memory(buffer));
    if (X.xc_domctl(xen->control, &call)) return -CXen_errno();
    return (long)call.u.vcpuextstate.size;
}

long CXen_vcpu_msrs(CXen *xen, uint32_t domid, uint32_t vcpu, CXen_buffer *buffer, size_t size) {
    struct xen_domctl call = {.cmd = XEN_DOMCTL_get_vcpu_msrs, .domain = (domid_t)domid};
    call.u.vcpu_msrs.vcpu = vcpu;
    errno = 0;
    if (X.xc_domctl(xen->control, &call)) return -CXen_errno();
    if (!call.u.vcpu_msrs.msr_count) return 0;
    if (call.u.vcpu_msrs.msr_count * sizeof(xen_domctl_vcpu_msr_t) > size) return -ENOSPC;
    set_xen_guest_handle_raw(call.u.vcpu_msrs.msrs, CXen_buffer_memory(buffer));
    if (X.xc_domctl(xen->control, &call)) return -CXen_errno();
    return (long)call.u.vcpu_msrs.msr_count;
}
