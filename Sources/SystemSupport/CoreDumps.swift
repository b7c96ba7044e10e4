import Glibc

/// What a process that dies leaves on disk.
package enum CoreDumps {
    /// No core dump of this process, and of those it starts: a guest's memory may be in it. The limit is one byte and not
    /// none, because only then the kernel asks no program that it pipes dumps to either (core(5); fs/coredump.c).
    package static func forbid() {
        var limit = rlimit(rlim_cur: 1, rlim_max: 1)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
    }
}
