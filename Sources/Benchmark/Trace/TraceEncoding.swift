import Checkpoint
import Glibc
import SystemSupport
import XenStream

/// What remusd sends for the pages of a trace, to a standby that takes every form of a page: the primary's
/// own encoder over the stream's own records. And what LZ4 by itself makes of the same.
final class TraceEncoding {
    private let trace: TraceReader
    private let memory: Mapping
    private let stream: Mapping
    private let shadow: PageShadow
    private let encoders: BothEncoders
    private var records: [Int] = []

    init(_ trace: TraceReader) throws {
        self.trace = trace
        memory = try Mapping.anonymous(count: trace.guestPages * guestPageSize)
        let pages = trace.epochs.map(\.pages).max() ?? 0
        stream = try Mapping.anonymous(count: Staging.capacity(pages: pages, stateCapacity: 0))
        // As the engine's.
        memory.preferHugePages()
        stream.preferHugePages()
        shadow = PageShadow(memory: memory.bytes, pageCount: trace.guestPages)
        shadow.restart()
        encoders = BothEncoders(shadow)
    }

    /// Bytes of the frames that an epoch's pages go in, with all that belongs to these.
    func bytes(of epoch: TraceReader.Epoch) throws -> Int {
        begin(epoch)
        return try encode(epoch).bytes
    }

    /// Has the pages of an epoch in the shadow as they were sent last.
    func begin(_ epoch: TraceReader.Epoch) {
        shadow.commit()
        for index in 0..<epoch.pages {
            let page = trace.page(index, of: epoch)
            self.page(page.pfn).copyMemory(from: page.before)
        }
    }

    /// Stages an epoch and encodes it: once after each `begin`.
    /// - Parameter look: sees each frame's body, as long as it is there.
    func encode(
        _ epoch: TraceReader.Epoch,
        look: (UnsafeRawBufferPointer) -> Void = { _ in }
    ) throws -> BothEncoders.Cost {
        let staged = stage(epoch)
        let cost = records.withUnsafeBufferPointer { encoders.encode(staged, records: $0, look: look) }
        for index in 0..<epoch.pages {
            let page = trace.page(index, of: epoch)
            guard isEqual(UnsafeRawBufferPointer(self.page(page.pfn)), page.after) else {
                throw BenchError("\(trace.path): page \(page.pfn) was not encoded")
            }
        }
        return cost
    }

    /// Stages an epoch and packs each of its pages with LZ4.
    /// - Parameter look: sees each block, empty where the page gets no smaller, as long as it is there.
    func pack(
        _ epoch: TraceReader.Epoch,
        look: (UnsafeRawBufferPointer) -> Void = { _ in }
    ) -> BothEncoders.Cost {
        let staged = stage(epoch)
        return records.withUnsafeBufferPointer {
            encoders.pack(staged, records: $0, pages: epoch.pages, look: look)
        }
    }

    /// The epoch's records, as the primary stages them.
    private func stage(_ epoch: TraceReader.Epoch) -> UnsafeRawBufferPointer {
        var writer = StreamWriter(stream.bytes)
        records.removeAll(keepingCapacity: true)
        for start in stride(from: 0, to: epoch.pages, by: Staging.batch) {
            let pages = (start..<min(start + Staging.batch, epoch.pages)).map { trace.page($0, of: epoch) }
            records.append(writer.count)
            let entries = pages.map { PageEntry(pfn: UInt64($0.pfn), type: .normal).encoded }
            var offset = entries.withUnsafeBufferPointer { writer.beginPageData(encoded: $0) }
            for page in pages {
                let target = stream.bytes[offset..<offset + guestPageSize]
                UnsafeMutableRawBufferPointer(rebasing: target).copyMemory(from: page.after)
                offset += guestPageSize
            }
        }
        return writer.written
    }

    /// A page of the shadow.
    private func page(_ pfn: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory.bytes[pfn * guestPageSize..<(pfn + 1) * guestPageSize])
    }

    private func isEqual(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Bool {
        guard let first = one.baseAddress, let second = other.baseAddress else { return false }
        return memcmp(first, second, guestPageSize) == 0
    }
}
