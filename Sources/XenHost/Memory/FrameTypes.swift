import CXen
import Checkpoint
import XenStream

/// Asks Xen what frames are, 1024 at a time.
final class FrameTypes {
    static let limit = Int(CXen_TYPES_LIMIT)

    private let hypervisor: Hypervisor
    private let domain: UInt32
    private let buffer: OpaquePointer
    /// Frame numbers in, types out.
    let entries: UnsafeMutablePointer<UInt64>

    init(_ hypervisor: Hypervisor, domain: UInt32) throws(GuestError) {
        guard let buffer = CXen_buffer_new(hypervisor.raw, Self.limit * 8),
            let memory = CXen_buffer_memory(buffer)
        else {
            throw GuestError(guest: hypervisor.guest, reason: "there is no memory for hypercalls")
        }
        self.hypervisor = hypervisor
        self.domain = domain
        self.buffer = buffer
        entries = memory.assumingMemoryBound(to: UInt64.self)
    }

    deinit { CXen_buffer_free(hypervisor.raw, buffer) }

    /// Asks about the first `count` of `entries`, at most `limit`; `type(_:)` then tells each.
    func ask(_ count: Int) throws(GuestError) {
        try hypervisor.check("ask what its pages are", CXen_types(hypervisor.raw, domain, buffer, count))
    }

    /// The type of entry `index`, as asked last; nil for one that the stream has no name for.
    @inline(__always)
    func type(_ index: Int) -> PageType? {
        PageType(rawValue: UInt8(truncatingIfNeeded: entries[index] >> 28 & 0xF))
    }
}
