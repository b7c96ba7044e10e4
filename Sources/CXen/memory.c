#include "internal.h"

static const size_t page_size = 4096;

// ---- Buffers for hypercalls

CXen_buffer *CXen_buffer_new(CXen *xen, size_t bytes) {
    CXen_buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer) return NULL;
    // What DECLARE_HYPERCALL_BUFFER makes of a buffer that is not there yet.
    buffer->hypercall.ubuf = (void *)-1;
    buffer->pages = (int)((bytes + page_size - 1) / page_size);
    if (!X.xc__hypercall_buffer_alloc_pages(xen->control, &buffer->hypercall, buffer->pages)) {
        free(buffer);
        return NULL;
    }
    return buffer;
}

void *CXen_buffer_memory(CXen_buffer *buffer) { return buffer->hypercall.hbuf; }

void CXen_buffer_free(CXen *xen, CXen_buffer *buffer) {
    X.xc__hypercall_buffer_free_pages(xen->control, &buffer->hypercall, buffer->pages);
    free(buffer);
}

// ---- Mapping

static void *reserve_at(void *address, size_t pages, int flags) {
    return mmap(address, pages * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

void *CXen_reserve(size_t pages) {
    void *address = reserve_at(NULL, pages, 0);
    return address == MAP_FAILED ? NULL : address;
}

void CXen_unreserve(void *address, size_t pages) { munmap(address, pages * page_size); }

int CXen_map(CXen *xen, uint32_t domid, void *address, size_t count, const uint64_t *frames, int *errors) {
    errno = 0;
    xenforeignmemory_handle *memory = X.xc_interface_fmem_handle(xen->control);
    void *mapped = X.xenforeignmemory_map2(memory, domid, address, PROT_READ, MAP_FIXED, count, frames, errors);
    if (mapped == address) return 0;
    int code = CXen_errno();
    // The library has unmapped the range.
    reserve_at(address, count, MAP_FIXED);
    return code;
}

int CXen_unmap(void *address, size_t count) {
    return reserve_at(address, count, MAP_FIXED) == MAP_FAILED ? CXen_errno() : 0;
}

int CXen_types(CXen *xen, uint32_t domid, CXen_buffer *buffer, size_t count) {
    struct xen_domctl call = {.cmd = XEN_DOMCTL_getpageframeinfo3, .domain = (domid_t)domid};
    call.u.getpageframeinfo3.num = count;
    set_xen_guest_handle_raw(call.u.getpageframeinfo3.array, CXen_buffer_memory(buffer));
    errno = 0;
    return X.xc_domctl(xen->control, &call) ? CXen_errno() : 0;
}

// ---- Log-dirty

static int shadow(CXen *xen, uint32_t domid, unsigned operation) {
    errno = 0;
    return X.xc_shadow_control(xen->control, domid, operation, NULL, 0) < 0 ? CXen_errno() : 0;
}

int CXen_log_dirty_on(CXen *xen, uint32_t domid) {
    int code = shadow(xen, domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY);
    if (code == 0) return 0;
    // Somebody left it on.
    shadow(xen, domid, XEN_DOMCTL_SHADOW_OP_OFF);
    return shadow(xen, domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY);
}

int CXen_log_dirty_off(CXen *xen, uint32_t domid) { return shadow(xen, domid, XEN_DOMCTL_SHADOW_OP_OFF); }

int CXen_log_dirty_count(CXen *xen, uint32_t domid, uint32_t *dirty) {
    // Without room for the bitmap, and of no pages, this is about the counters only.
    struct xen_domctl call = {.cmd = XEN_DOMCTL_shadow_op, .domain = (domid_t)domid};
    call.u.shadow_op.op = XEN_DOMCTL_SHADOW_OP_PEEK;
    errno = 0;
    if (X.xc_domctl(xen->control, &call)) return CXen_errno();
    *dirty = call.u.shadow_op.stats.dirty_count;
    return 0;
}

int CXen_log_dirty_clean(CXen *xen, uint32_t domid, CXen_buffer *buffer, size_t pages, bool final, uint32_t *dirty) {
    xc_shadow_op_stats_t stats = {0};
    errno = 0;
    long long covered =
        X.xc_logdirty_control(xen->control, domid, XEN_DOMCTL_SHADOW_OP_CLEAN, &buffer->hypercall, pages,
                              final ? XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL : 0, &stats);
    if (covered < 0) return CXen_errno();
    *dirty = stats.dirty_count;
    return (unsigned long long)covered == pages ? 0 : EMSGSIZE;
}
