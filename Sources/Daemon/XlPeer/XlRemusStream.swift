import Checkpoint
import XenHost
import XenStream

/// Why what an xl sends cannot be taken.
package struct XlPeerError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// The stream of `xl remus` as it comes: what its beginning says of the guest, and where its epochs end.
///
/// It is one checkpointed xl stream without any other framing (Xen's libxl stream spec, "Remus"): an epoch ends with its
/// CHECKPOINT_END.
package struct XlRemusStream: ~Copyable {
    private var reader = StreamReader(
        options: ReaderOptions(start: .xl, strictness: .strict, lifecycle: .checkpointed)
    )
    private var handler = Handler()
    private var taken: UInt64 = 0

    package init() {}

    /// Takes the next bytes, of any number, and hands them out again in pieces that end where an epoch does.
    /// - Throws: `StreamError` for what is no such stream; and what `piece` throws.
    package mutating func take(
        _ bytes: UnsafeRawBufferPointer,
        _ piece: (_ bytes: UnsafeRawBufferPointer, _ endsEpoch: Bool) throws -> Void
    ) throws {
        handler.ends.removeAll(keepingCapacity: true)
        try reader.feed(bytes, to: &handler)
        var start = 0
        for end in handler.ends {
            let end = Int(end - taken)
            try piece(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), true)
            start = end
        }
        if start < bytes.count { try piece(UnsafeRawBufferPointer(rebasing: bytes[start...]), false) }
        taken += UInt64(bytes.count)
    }

    /// Epochs that ended.
    package var epochs: UInt64 { reader.epoch }

    /// The guest, once everything before its first page was taken; nil before.
    package func guest() throws(XlPeerError) -> GuestDescription? {
        guard handler.memoryBegan, let kind = handler.kind else { return nil }
        guard let configuration = DomainConfiguration(json: handler.config), let name = configuration.name,
            let uuid = configuration.uuid.flatMap({ GuestUUID($0) }),
            let memory = configuration.memoryKiB, memory > 0
        else {
            throw XlPeerError("the configuration that xl sent has no name, UUID or memory of the guest")
        }
        return GuestDescription(
            name: name,
            uuid: uuid,
            kind: kind,
            pageCount: try pageCount(kind, memoryKiB: memory),
            address: "",
            config: handler.config
        )
    }

    /// The most pages that hold data: the guest's RAM.
    package var ramPages: UInt64 { (DomainConfiguration(json: handler.config)?.memoryKiB ?? 0) / 4 }

    /// A PV guest's P2M_FRAMES name its last pfn. Of another guest nothing does: it has holes up to 4 GiB, and memory that
    /// does not fit below them lies above.
    private func pageCount(_ kind: GuestKind, memoryKiB: UInt64) throws(XlPeerError) -> Int {
        let below4GiB: UInt64 = 1 << 20
        let pages =
            switch kind {
            case .pv: handler.lastPFN.map { UInt64($0) + 1 } ?? 0
            case .hvm: below4GiB + min(memoryKiB, 1 << 42) / 4
            }
        guard pages > 0, pages <= UInt64(GuestDescription.maximumPageCount) else {
            throw XlPeerError("the guest would have \(pages) pages")
        }
        return Int(pages)
    }

    private struct Handler: StreamHandler {
        var config: [UInt8] = []
        var kind: GuestKind?
        var lastPFN: UInt32?
        var memoryBegan = false
        /// Offsets of the bytes after each CHECKPOINT_END.
        var ends: [UInt64] = []

        mutating func config(_ json: UnsafeRawBufferPointer) { config = Array(json) }

        mutating func domainHeader(_ header: DomainHeader) { kind = header.kind }

        mutating func recordBegin(_ record: RecordInfo) {
            if record.libxcType == .pageData { memoryBegan = true }
        }

        mutating func record(_ record: RecordInfo, body: UnsafeRawBufferPointer) {
            if record.libxcType == .x86PVP2MFrames, body.count >= 8 {
                // P2M_FRAMES: the first and the last pfn, u32 each (libxc stream spec).
                lastPFN = UInt32(littleEndian: body.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
            }
            if record.libxlType == .checkpointEnd {
                ends.append(record.offset + UInt64(StreamWriter.recordLength(body: Int(record.length))))
            }
        }
    }
}
