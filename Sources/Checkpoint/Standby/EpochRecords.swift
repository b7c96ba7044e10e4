import XenStream

/// Walks the records of one whole epoch in memory. The strict reader has accepted the bytes; this only finds its way
/// through them, and still never steps outside.
struct EpochRecords {
    enum Kind {
        /// PAGE_DATA: its entries, 8 bytes each, and its page contents.
        case pages(entries: UnsafeRawBufferPointer, contents: UnsafeRawBufferPointer)
        /// Any other libxc record.
        case state
        /// A libxl record of the device model.
        case emulator
        /// CHECKPOINT or CHECKPOINT_END.
        case mark
    }

    struct Record {
        var kind: Kind
        /// The record with header and padding.
        var bytes: UnsafeRawBufferPointer
    }

    private let bytes: UnsafeRawBufferPointer
    private var offset = 0
    private var layer = StreamLayer.libxc

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func next() throws(ImageError) -> Record? {
        guard offset < bytes.count else { return nil }
        guard bytes.count - offset >= 8 else { throw ImageError("a record is cut short") }
        let type: UInt32 = bytes.loadLE(at: offset)
        let length = Int(bytes.loadLE(at: offset + 4) as UInt32)
        let padded = (length + 7) & ~7
        guard bytes.count - offset - 8 >= padded else { throw ImageError("a record is cut short") }
        let record = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + 8 + padded])
        offset += 8 + padded
        if layer == .libxl {
            guard LibxlRecordType(rawValue: type) == .checkpointEnd else {
                return Record(kind: .emulator, bytes: record)
            }
            layer = .libxc
            return Record(kind: .mark, bytes: record)
        }
        switch LibxcRecordType(rawValue: type) {
        case .checkpoint:
            layer = .libxl
            return Record(kind: .mark, bytes: record)
        case .pageData:
            guard length >= 8 else { throw ImageError("a PAGE_DATA record is cut short") }
            let list = Int(record.loadLE(at: 8) as UInt32) * 8
            guard length - 8 >= list else { throw ImageError("a PAGE_DATA record is cut short") }
            return Record(
                kind: .pages(
                    entries: UnsafeRawBufferPointer(rebasing: record[16..<16 + list]),
                    contents: UnsafeRawBufferPointer(rebasing: record[(16 + list)..<(8 + length)])
                ),
                bytes: record
            )
        default: return Record(kind: .state, bytes: record)
        }
    }
}
