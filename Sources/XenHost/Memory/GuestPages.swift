import Checkpoint
import SystemSupport
import XenStream

/// The pages of a guest of Xen's: which there are, and how they travel.
///
/// `changed` collects, for the owner, pages whose type or frame changed without being written: Xen's bitmap does not
/// have them (xen-operations.md, sections 2.4 and 10.6).
protocol GuestPages: AnyObject {
    /// Every pfn is below this.
    var pageCount: Int { get }
    /// What copies them.
    var copier: PageCopier { get }

    /// Looks at everything anew.
    /// - Parameter total: how many pages of RAM the domain has: when as many were found, there are no others.
    func rescan(total: Int, _ changed: inout PageBitmap) throws(GuestError)
    /// Looks at the next part of it, in bounded time; round and round.
    func rescanSlice(_ changed: inout PageBitmap) throws(GuestError)
    /// The guest's frames may be others: nothing that is mapped is relied on any more.
    func dropMappings()
    /// The guest is gone, or left alone: nothing of it stays mapped.
    func dropAll()
    /// What the guest itself says about where its pages are is read anew, as far as it is `dirty`. Suspended only, once
    /// dirty pages are known and before they are copied.
    func refresh(_ dirty: borrowing PageBitmap, _ changed: inout PageBitmap) throws(GuestError)

    /// Adds the pages that have RAM, as of the last look.
    func collectPresent(into bitmap: inout PageBitmap)

    /// As `ProtectedGuest.copyPages`. While the guest runs (`isSuspended` false), what cannot be copied now is sent as
    /// absent and added to `later`; while it is suspended, that is an error.
    func copy(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer,
        isSuspended: Bool,
        later: inout PageBitmap
    ) throws(GuestError) -> Int
}
