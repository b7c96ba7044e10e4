import Checkpoint
import SystemSupport
import XenStream

extension PageCopier {
    /// Copies pages of a guest whose memory is one mapping, and all of whose pages are ordinary ones
    /// (`ProtectedGuest.copyPages`).
    /// - Returns: how many.
    package func copy(
        _ pfns: UnsafeBufferPointer<UInt64>,
        of memory: Mapping,
        types: UnsafeMutableBufferPointer<PageType>,
        into target: UnsafeMutableRawPointer
    ) -> Int {
        for index in pfns.indices {
            let offset = Int(pfns[index]) * guestPageSize
            precondition(offset < memory.count, "pfn outside the guest")
            add(memory.base + offset, to: target + index * guestPageSize)
            types[index] = .normal
        }
        finish()
        return pfns.count
    }
}
