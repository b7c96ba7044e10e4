import CLinux
import Glibc

/// Makes the kernel remember which pages of a mapping its process writes, without telling anyone at the time:
/// userfaultfd(2) write protection in asynchronous mode. The pages are read, and protected again, by `PagemapScan`.
/// Tracking ends when the object goes.
package final class WriteTracking: Sendable {
    private let descriptor: Descriptor

    /// Begins to track `mapping` of the calling process.
    /// - Throws: `EINVAL` where the kernel is older than 6.7, `EPERM` where userfaultfd is forbidden.
    package init(_ mapping: Mapping) throws(SystemError) {
        let raw = CLinux_userfaultfd(O_CLOEXEC | O_NONBLOCK | CLinux_UFFD_USER_MODE_ONLY)
        guard raw >= 0 else { throw SystemError("create a userfaultfd") }
        descriptor = Descriptor(owning: raw)
        var api = uffdio_api()
        api.api = 0xAA  // UFFD_API
        api.features =
            CLinux_UFFD_FEATURE_WP_ASYNC | CLinux_UFFD_FEATURE_WP_UNPOPULATED
            | CLinux_UFFD_FEATURE_WP_HUGETLBFS_SHMEM
        guard CLinux_uffdio_api(raw, &api) == 0 else {
            throw SystemError("use userfaultfd write protection in asynchronous mode (Linux 6.7)")
        }
        var request = uffdio_register()
        request.range.start = UInt64(UInt(bitPattern: mapping.base))
        request.range.len = UInt64(mapping.count)
        request.mode = 1 << 1  // UFFDIO_REGISTER_MODE_WP
        guard CLinux_uffdio_register(raw, &request) == 0 else {
            throw SystemError("register guest memory with userfaultfd")
        }
    }
}

/// Reads which pages of another process's mapping were written, and write-protects them again in the same step:
/// ioctl PAGEMAP_SCAN on /proc/PID/pagemap (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst).
package final class PagemapScan {
    private let pagemap: Descriptor
    private let regions: UnsafeMutableBufferPointer<CLinux_page_region>

    /// Opens the page map of process `pid`.
    package init(pid: Int32) throws(SystemError) {
        let raw = open("/proc/\(pid)/pagemap", O_RDONLY | O_CLOEXEC)
        guard raw >= 0 else { throw SystemError("open /proc/\(pid)/pagemap") }
        pagemap = Descriptor(owning: raw)
        regions = .allocate(capacity: 2048)
    }

    deinit { regions.deallocate() }

    /// Hands every range of addresses written since the last call to `body`, and protects it again.
    ///
    /// The range must be registered by a `WriteTracking` of its process. The first call after that finds every page.
    package func takeWritten(
        in range: Range<UInt64>,
        _ body: (Range<UInt64>) -> Void
    ) throws(SystemError) {
        var argument = CLinux_pm_scan_arg()
        argument.size = UInt64(MemoryLayout<CLinux_pm_scan_arg>.size)
        argument.flags = CLinux_PM_SCAN_WP_MATCHING | CLinux_PM_SCAN_CHECK_WPASYNC
        argument.end = range.upperBound
        argument.vec = UInt64(UInt(bitPattern: regions.baseAddress))
        argument.vec_len = UInt64(regions.count)
        argument.category_mask = CLinux_PAGE_IS_WRITTEN
        argument.return_mask = CLinux_PAGE_IS_WRITTEN
        var from = range.lowerBound
        while from < range.upperBound {
            argument.start = from
            let found = try retryingInterrupts("scan the guest's page map") {
                CLinux_pagemap_scan(pagemap.raw, &argument)
            }
            for region in regions[..<found] { body(region.start..<region.end) }
            // A scan that filled the buffer stopped at walk_end, having protected only what it reported.
            guard argument.walk_end > from else { throw SystemError("scan the guest's page map", code: EIO) }
            from = argument.walk_end
        }
    }
}
