import Glibc
import SystemSupport

/// A trace of what a real guest's dirty pages held before and after each epoch, as `scripts/bench record` makes
/// them (bench/tracefile.py has the format). All numbers in it are little-endian.
package final class TraceReader: Sendable {
    /// One epoch of the guest.
    package struct Epoch: Equatable, Sendable {
        /// Pages that changed in it.
        package let changed: Int
        /// Of which the trace has so many.
        package let pages: Int
        /// Where the first of them begins in the file.
        fileprivate let start: Int
    }

    /// A page that changed. Its bytes are valid as long as the reader lives.
    package struct Page {
        package let pfn: Int
        package let before: UnsafeRawBufferPointer
        package let after: UnsafeRawBufferPointer
    }

    private static let magic = "RMSTRACE"
    private static let headerSize = 32
    private static let epochHeadSize = 16
    private static let pageHeadSize = 16
    private static let pageSize = 4096
    private static let entrySize = pageHeadSize + 2 * pageSize

    private let file: Mapping
    package let path: String
    /// Every pfn is less.
    package let guestPages: Int
    package let epochs: [Epoch]

    /// Opens a trace and checks that it is whole.
    package init(_ path: String) throws {
        func refused(_ reason: String) -> BenchError {
            BenchError("\(path) is no trace: \(reason); 'scripts/bench record --again' makes a new one")
        }
        let raw = open(path, O_RDONLY | O_CLOEXEC)
        guard raw >= 0 else { throw SystemError("read \(path)") }
        let descriptor = Descriptor(owning: raw)
        let size = try Memfd.size(of: descriptor)
        guard size >= Self.headerSize else { throw refused("it has \(size) bytes") }
        let file = try Mapping.shared(descriptor, count: size, writable: false)
        func number(at offset: Int) throws -> Int {
            let value = UInt64(littleEndian: file.base.load(fromByteOffset: offset, as: UInt64.self))
            guard value < 1 << 48 else { throw refused("at \(offset) it has a number that is too large") }
            return Int(value)
        }
        guard file.bytes.prefix(8).elementsEqual(Self.magic.utf8) else {
            throw refused("it begins otherwise")
        }
        guard try number(at: 8) == 1 | Self.pageSize << 32 else {
            throw refused("its version is not 1, or its pages are not \(Self.pageSize) bytes")
        }
        let guestPages = try number(at: 16)
        var offset = Self.headerSize
        var epochs: [Epoch] = []
        let count = try number(at: 24)
        for _ in 0..<count {
            guard size - offset >= Self.epochHeadSize else { throw refused("an epoch is missing") }
            let changed = try number(at: offset)
            let pages = try number(at: offset + 8)
            offset += Self.epochHeadSize
            guard pages <= changed, pages <= (size - offset) / Self.entrySize else {
                throw refused("of an epoch, pages are missing")
            }
            for index in 0..<pages {
                guard try number(at: offset + index * Self.entrySize) < guestPages else {
                    throw refused("it has a page that its guest has not")
                }
            }
            epochs.append(Epoch(changed: changed, pages: pages, start: offset))
            offset += pages * Self.entrySize
        }
        guard offset == size else { throw refused("it has \(size - offset) bytes too many") }
        self.path = path
        self.file = file
        self.guestPages = guestPages
        self.epochs = epochs
    }

    /// The page number `index` of an epoch, in the order of their pfns.
    package func page(_ index: Int, of epoch: Epoch) -> Page {
        precondition(index >= 0 && index < epoch.pages)
        let start = epoch.start + index * Self.entrySize
        let content = file.bytes[(start + Self.pageHeadSize)...]
        return Page(
            pfn: Int(UInt64(littleEndian: file.base.load(fromByteOffset: start, as: UInt64.self))),
            before: UnsafeRawBufferPointer(rebasing: content.prefix(Self.pageSize)),
            after: UnsafeRawBufferPointer(rebasing: content.dropFirst(Self.pageSize).prefix(Self.pageSize))
        )
    }
}
