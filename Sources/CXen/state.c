#include "internal.h"

_Static_assert(sizeof(xen_cpuid_leaf_t) == 24, "an entry of X86_CPUID_POLICY");
_Static_assert(sizeof(xen_msr_entry_t) == 16, "an entry of X86_MSR_POLICY");

int CXen_tsc_info(CXen *xen, uint32_t domid, uint32_t *mode, uint64_t *nanoseconds, uint32_t *khz,
                  uint32_t *incarnation) {
    errno = 0;
    return X.xc_domain_get_tsc_info(xen->control, domid, mode, nanoseconds, khz, incarnation) ? CXen_errno() : 0;
}

long CXen_hvm_context_size(CXen *xen, uint32_t domid) {
    errno = 0;
    int size = X.xc_domain_hvm_getcontext(xen->control, domid, NULL, 0);
    return size < 0 ? -CXen_errno() : size;
}

long CXen_hvm_context(CXen *xen, uint32_t domid, void *memory, size_t size) {
    errno = 0;
    int written = X.xc_domain_hvm_getcontext(xen->control, domid, memory, (uint32_t)size);
    return written < 0 ? -CXen_errno() : written;
}

int CXen_hvm_param(CXen *xen, uint32_t domid, uint32_t index, uint64_t *value) {
    errno = 0;
    return X.xc_hvm_param_get(xen->control, domid, index, value) ? CXen_errno() : 0;
}

int CXen_policy_size(CXen *xen, uint32_t *leaves, uint32_t *msrs) {
    errno = 0;
    return X.xc_cpu_policy_get_size(xen->control, leaves, msrs) ? CXen_errno() : 0;
}

int CXen_policy(CXen *xen, uint32_t domid, void *leaves, uint32_t *leaf_count, void *msrs, uint32_t *msr_count) {
    xc_cpu_policy_t *policy = X.xc_cpu_policy_init();
    if (!policy) return ENOMEM;
    errno = 0;
    int code = 0;
    if (X.xc_cpu_policy_get_domain(xen->control, domid, policy) ||
        X.xc_cpu_policy_serialise(xen->control, policy, leaves, leaf_count, msrs, msr_count))
        code = CXen_errno();
    X.xc_cpu_policy_destroy(policy);
    return code;
}
