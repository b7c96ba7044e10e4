import Checkpoint
import SystemSupport
import XenStream

extension PageCopier {
    /// Copies pages of a guest all of whose pages are ordinary ones.
    /// - Returns: how many.
    func copy(
        _ pfns: UnsafeBufferPointer<UInt64>,
        of memory: Mapping,
        types: UnsafeMutableBufferPointer<PageType>,
        into target: UnsafeMutableRawPointer
    ) -> Int {
        for index in pfns.indices {
            add(memory.base + Int(pfns[index]) * guestPageSize, to: target + index * guestPageSize)
            types[index] = .normal
        }
        finish()
        return pfns.count
    }
}
