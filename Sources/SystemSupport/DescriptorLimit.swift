import Glibc

/// How many descriptors this process may have.
package enum DescriptorLimit {
    /// As many as it may allow itself, up to `most`: the usual soft limit (1024) is for programs that use select(2). Whoever
    /// is started from here inherits it, and some go through all descriptors that there may be: hence a bound.
    package static func raise(upTo most: UInt = 65_536) {
        var limit = rlimit()
        let which = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(which, &limit) == 0 else { return }
        let wanted = min(limit.rlim_max, rlim_t(most))
        guard wanted > limit.rlim_cur else { return }
        limit.rlim_cur = wanted
        setrlimit(which, &limit)
    }
}
