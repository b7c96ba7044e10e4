import CXen
import Checkpoint
import Glibc

/// Xen's log-dirty bitmap of one domain, and the hypercall-safe memory it is read into.
final class DirtyLog {
    private let hypervisor: Hypervisor
    private let domain: UInt32
    private let pageCount: Int
    private let buffer: OpaquePointer
    private(set) var isOn = false

    init(_ hypervisor: Hypervisor, domain: UInt32, pageCount: Int) throws(GuestError) {
        guard let buffer = CXen_buffer_new(hypervisor.raw, (pageCount + 63) / 64 * 8) else {
            throw GuestError(
                guest: hypervisor.guest,
                reason: "there is no memory for its bitmap of dirty pages"
            )
        }
        self.hypervisor = hypervisor
        self.domain = domain
        self.pageCount = pageCount
        self.buffer = buffer
    }

    deinit { CXen_buffer_free(hypervisor.raw, buffer) }

    /// Nothing is dirty, and what is written from here on will be; whoever had it on.
    func start() throws(GuestError) {
        isOn = false
        let code = CXen_log_dirty_on(hypervisor.raw, domain)
        if code == EINVAL {
            throw GuestError(
                guest: hypervisor.guest,
                reason:
                    "Xen does not track its writes (Invalid argument): a device of the host is passed through to it"
            )
        }
        try hypervisor.check("have Xen track its writes", code)
        isOn = true
    }

    /// Ends tracking, if it is ours.
    func stop() {
        guard isOn else { return }
        isOn = false
        _ = CXen_log_dirty_off(hypervisor.raw, domain)
    }

    /// Ends tracking, whoever began it: a process that was killed cannot.
    func stopWhoeverHasIt() {
        isOn = false
        _ = CXen_log_dirty_off(hypervisor.raw, domain)
    }

    /// What a reading came to.
    enum Reading: Equatable {
        /// Pages were added.
        case some
        /// There were none.
        case none
        /// Xen lost some: all that can be said is that any page may be dirty (ENOMEM, EBUSY, a bitmap cut short).
        case lost
    }

    /// How many pages are dirty; nil: it is off, or Xen does not say.
    var count: Int? {
        var count: UInt32 = 0
        guard isOn, CXen_log_dirty_count(hypervisor.raw, domain, &count) == 0 else { return nil }
        return Int(count)
    }

    /// Adds the dirty pages to `bitmap` and starts afresh.
    /// - Parameter isFinal: the domain is suspended.
    func read(into bitmap: inout PageBitmap, isFinal: Bool) throws(GuestError) -> Reading {
        var count: UInt32 = 0
        let code = CXen_log_dirty_clean(hypervisor.raw, domain, buffer, pageCount, isFinal, &count)
        switch code {
        case 0: break
        case ENOMEM, EBUSY, EMSGSIZE, EINVAL: return .lost
        default: try hypervisor.check("read which pages it wrote", code)
        }
        let words = UnsafeBufferPointer(
            start: CXen_buffer_memory(buffer)?.assumingMemoryBound(to: UInt64.self),
            count: (pageCount + 63) / 64
        )
        return bitmap.formUnion(words: words) ? .some : .none
    }
}
