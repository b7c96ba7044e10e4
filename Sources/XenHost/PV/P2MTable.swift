import Checkpoint
import XenStream

/// Where a PV guest says that its table of frames is (shared info, stream-v2.md section 8).
package struct P2MLocation: Equatable, Sendable {
    /// Pages the guest has or may get: the highest pfn + 1.
    package var pageCount: Int
    /// The root of the page tables and the address of the linear table; a root of 0 means that there is none.
    package var cr3: UInt64, address: UInt64
    /// The machine frame of the three-level tree's root.
    package var treeRoot: UInt64
    /// Odd while the guest rebuilds the linear table.
    package var generation: UInt64

    /// Reads a shared info page.
    package init(_ page: UnsafeRawPointer, _ info: PVInfo) {
        let layout: PVLayout.SharedInfo = info.guestWidth == 8 ? .pv64 : .pv32
        func word(_ offset: Int) -> UInt64 {
            info.guestWidth == 8
                ? page.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                : UInt64(page.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        pageCount = Int(truncatingIfNeeded: word(layout.maxPFN) & 0xFF_FFFF_FFFF)
        treeRoot = word(layout.p2mFrameListList)
        cr3 = word(layout.p2mCR3)
        address = word(layout.p2mAddress)
        generation = word(layout.p2mGeneration)
    }
}

/// What is wrong with a guest's table of frames, in words.
package struct P2MProblem: Error, Equatable, CustomStringConvertible {
    package let description: String
}

/// Finds the machine frames that hold a PV guest's table of frames. Pure: frames are read through a closure.
package enum P2MTable {
    /// The machine frames of the table, in order, as many as `pageCount` pages need.
    /// - Parameters:
    ///   - highest: the machine's highest frame.
    ///   - read: the 4096 bytes of a machine frame, as 512 little-endian words.
    package static func frames<E: Error>(
        _ location: P2MLocation,
        _ info: PVInfo,
        highest: UInt64,
        read: (UInt64) throws(E) -> [UInt64]
    ) throws -> [UInt64] {
        let perFrame = Int(info.entriesPerP2MFrame)
        let count = (location.pageCount + perFrame - 1) / perFrame
        guard count > 0 else { throw P2MProblem(description: "it has no pages") }
        return location.cr3 != 0
            ? try linear(location, info, count, highest, read)
            : try tree(location, info, count, highest, read)
    }

    /// The linear table: `count` pages at a virtual address, found through the guest's page tables.
    private static func linear<E: Error>(
        _ location: P2MLocation,
        _ info: PVInfo,
        _ count: Int,
        _ highest: UInt64,
        _ read: (UInt64) throws(E) -> [UInt64]
    ) throws -> [UInt64] {
        let levels = Int(info.pagingLevels)
        let root = PVLayout.frame(cr3: location.cr3, word: Int(info.guestWidth))
        guard root <= highest, location.address & 0xFFF == 0 else {
            throw P2MProblem(description: "its table of frames is said to be where no memory is")
        }
        // The table of each level that was read last.
        var cached = [(frame: UInt64, words: [UInt64])](repeating: (.max, []), count: levels + 1)
        var result: [UInt64] = []
        result.reserveCapacity(count)
        for page in 0..<count {
            let address = location.address &+ UInt64(page) << 12
            var frame = root
            for level in stride(from: levels, through: 1, by: -1) {
                if cached[level].frame != frame { cached[level] = (frame, try read(frame)) }
                let index = Int(address >> UInt64(12 + 9 * (level - 1)) & 0x1FF)
                let entry = PageTableEntry(cached[level].words[index])
                guard entry.isPresent, entry.frame <= highest, !entry.isSuperpage(level: level) else {
                    throw P2MProblem(description: "part \(page) of its table of frames is not mapped")
                }
                frame = entry.frame
            }
            result.append(frame)
        }
        return result
    }

    /// The three-level tree: a page of frames of pages of frames.
    private static func tree<E: Error>(
        _ location: P2MLocation,
        _ info: PVInfo,
        _ count: Int,
        _ highest: UInt64,
        _ read: (UInt64) throws(E) -> [UInt64]
    ) throws -> [UInt64] {
        let perFrame = Int(info.entriesPerP2MFrame)
        func entries(_ frame: UInt64) throws -> [UInt64] {
            guard frame != 0, frame <= highest else {
                throw P2MProblem(description: "its table of frames is said to be where no memory is")
            }
            let words = try read(frame)
            return info.guestWidth == 8 ? words : words.flatMap { [$0 & 0xFFFF_FFFF, $0 >> 32] }
        }
        let middles = try entries(location.treeRoot)
        guard (count + perFrame - 1) / perFrame <= middles.count else {
            throw P2MProblem(description: "it has more pages than a tree of frames holds")
        }
        var result: [UInt64] = []
        for middle in 0..<(count + perFrame - 1) / perFrame {
            for frame in try entries(middles[middle]).prefix(count - result.count) {
                guard frame <= highest else {
                    throw P2MProblem(description: "part \(result.count) of its table of frames is missing")
                }
                result.append(frame)
            }
        }
        return result
    }
}
