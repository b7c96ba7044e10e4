import XenStream

/// The primary's copy of what the standby's image holds: of every page the bytes that were sent last.
///
/// A page is a *reference* while both sides surely have the same bytes for it: what was sent of it last is committed, or it
/// was never sent and is zeros on both sides. What is sent in an epoch that is not committed is none until it is; what
/// was sent on a connection that is gone, and may or may not have become part of an epoch, is none until it is sent anew.
package final class PageShadow {
    private let memory: UnsafeMutableRawBufferPointer
    /// Sent in the running epoch, on this connection.
    private var sent: PageBitmap
    /// What the image has of these is not known.
    private var unknown: PageBitmap

    /// A shadow in `memory`, 4096 bytes a page, which outlives it. Nothing is a reference before `restart`.
    package init(memory: UnsafeMutableRawBufferPointer, pageCount: Int) {
        precondition(memory.count >= pageCount * guestPageSize && memory.baseAddress != nil)
        self.memory = memory
        sent = PageBitmap(pageCount: pageCount)
        unknown = PageBitmap(pageCount: pageCount)
        unknown.insert(0..<pageCount)
    }

    var pageCount: Int { unknown.pageCount }

    /// The standby begins a new, empty image, and the memory has been zeroed.
    package func restart() {
        sent.removeAll()
        unknown.removeAll()
    }

    /// A new connection: what came of what was sent on the last one is not known.
    package func beginConnection() {
        unknown.formUnion(sent)
        sent.removeAll()
    }

    /// The standby could not put together what was sent: nothing is a reference until it is sent anew.
    package func distrust() { unknown.insert(0..<unknown.pageCount) }

    /// The running epoch is committed.
    package func commit() { sent.removeAll() }

    /// The page is being sent, and its new bytes go into the shadow.
    /// - Returns: whether it was a reference.
    func noteSent(_ pfn: Int) -> Bool {
        guard sent.contains(pfn) || unknown.contains(pfn) else {
            sent.insert(pfn)
            return true
        }
        sent.insert(pfn)
        unknown.remove(pfn)
        return false
    }

    /// The bytes of a page below `pageCount`; nil for any other.
    func page(_ pfn: Int) -> UnsafeMutableRawPointer? {
        guard pfn >= 0, pfn < unknown.pageCount else { return nil }
        return memory.baseAddress.map { $0 + pfn * guestPageSize }
    }
}
