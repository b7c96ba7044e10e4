import Synchronization
import XenStream

/// What a snapshot still needs of pages that are about to change.
struct SnapshotKeeper {
    struct Page {
        var type: PageType?
        var content: [UInt8]?
    }

    /// Pfns below this were read already.
    var cursor = 0
    var saved: [Int: Page] = [:]
    let limit: Int
    var overflowed = false

    mutating func keep(_ pfn: Int, of image: StandbyImage) {
        guard pfn >= cursor, saved[pfn] == nil, !overflowed else { return }
        guard saved.count < limit else {
            overflowed = true
            return
        }
        saved[pfn] = Page(
            type: image.type(of: pfn),
            content: image.holdsData(pfn) ? Array(image.page(pfn)) : nil
        )
    }
}

/// One committed epoch of an image, read while newer ones are applied. Pages that change before they were read are
/// kept aside, at most `limit` of them: a reader that is slower than the guest fails, protection never waits.
package final class ImageSnapshot {
    private let image: StandbyImage
    package let epoch: UInt64
    /// Copies of what is small.
    package let prefix: [UInt8], state: [UInt8], emulator: [UInt8]
    package let kind: GuestKind

    /// Begins a snapshot at the newest commit.
    /// - Parameter limit: pages that may be kept aside.
    package init(of image: StandbyImage, limit: Int) throws(ImageError) {
        let parts = try image.applyLock.withLock { _ throws(ImageError) in
            // Not the sealed one: until that is applied, memory and state are those of the epoch before it.
            guard let epoch = image.appliedEpoch else { throw ImageError("there is no committed epoch") }
            try image.reader.withLock { keeper throws(ImageError) in
                guard keeper == nil else { throw ImageError("another export of this guest is being written") }
                keeper = SnapshotKeeper(limit: limit)
            }
            return (epoch, Array(image.prefix), Array(image.state), Array(image.emulator))
        }
        self.image = image
        (epoch, prefix, state, emulator) = parts
        kind = image.kind
    }

    deinit { image.reader.withLock { $0 = nil } }

    /// Reads on: entries of the next pages that exist (ascending, at most as many as `entries` holds) and, packed, the
    /// content of those that carry data.
    /// - Returns: how many entries and how many contents; no entries at the end.
    package func next(
        entries: UnsafeMutableBufferPointer<PageEntry>,
        contents: UnsafeMutableRawBufferPointer
    ) throws(ImageError) -> (entries: Int, contents: Int) {
        precondition(contents.count >= entries.count * guestPageSize)
        return try image.reader.withLock { slot throws(ImageError) in
            guard var keeper = slot.take() else { throw ImageError("the snapshot has ended") }
            defer { slot = keeper }
            guard !keeper.overflowed else {
                throw ImageError(
                    "the guest rewrites its memory faster than the export is written; try a faster disk"
                )
            }
            var count = 0
            var filled = 0
            while keeper.cursor < image.layout.pageCount, count < entries.count {
                let pfn = keeper.cursor
                keeper.cursor += 1
                let saved = keeper.saved.removeValue(forKey: pfn)
                guard let type = saved.map(\.type) ?? image.type(of: pfn), type != .absent else { continue }
                let target = UnsafeMutableRawBufferPointer(
                    rebasing: contents[filled * guestPageSize..<(filled + 1) * guestPageSize]
                )
                if let saved {
                    if let content = saved.content { target.copyBytes(from: content) }
                } else if image.holdsData(pfn) {
                    target.copyMemory(from: image.page(pfn))
                }
                let holdsData = saved.map { $0.content != nil } ?? image.holdsData(pfn)
                entries[count] = PageEntry(pfn: UInt64(pfn), type: Self.exported(type, holdsData: holdsData))
                if entries[count].type.carriesData {
                    if !holdsData { target.initializeMemory(as: UInt8.self, repeating: 0) }
                    filled += 1
                }
                count += 1
            }
            return (count, filled)
        }
    }

    /// A page that was allocated only and written later travels with its data.
    private static func exported(_ type: PageType, holdsData: Bool) -> PageType {
        type == .allocateOnly && holdsData ? .normal : type
    }
}
