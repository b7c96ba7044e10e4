import CKernels

/// What a frame between two remusd carries (docs/protocol.md).
package enum FrameType: UInt16, Sendable {
    case hello = 1
    case welcome = 2
    case refuse = 3
    /// Bytes of the migration stream v2, in order. The header's checksum leaves its body out: the epoch's own covers it.
    case data = 4
    case epochEnd = 5
    case ack = 6
    case heartbeat = 7
    case heartbeatEcho = 8
    case plannedEnd = 9
    case plannedEndAnswer = 10
    case inquiry = 11
    case claim = 12
    /// The same as `data`, encoded (`PageEncoder`): a u32 count of the stream's bytes, and items. The epoch's length and
    /// checksum are those of what it decodes to.
    case encodedData = 13

    /// Whether it carries bytes of an epoch.
    package var isData: Bool { self == .data || self == .encodedData }
}

/// Why bytes are not a frame, or not one that is allowed.
package enum FrameError: Error, Equatable, Sendable, CustomStringConvertible {
    case badMagic(UInt32)
    case unknownType(UInt16)
    case tooLong(FrameType, length: UInt32, limit: UInt32)
    case badChecksum(FrameType)
    /// The body of this type cannot be understood.
    case badBody(FrameType, String)
    /// A hello from a remusd whose versions, oldest to newest, do not meet ours.
    case noCommonVersion(oldest: UInt16, newest: UInt16)

    package var description: String {
        switch self {
        case .badMagic(let magic): "not a remusd frame (magic 0x\(String(magic, radix: 16)))"
        case .unknownType(let type): "unknown frame type \(type)"
        case .tooLong(let type, let length, let limit):
            "\(type) frame of \(length) bytes, at most \(limit) allowed"
        case .badChecksum(let type): "damaged \(type) frame: its checksum does not match"
        case .badBody(let type, let reason): "malformed \(type) frame: \(reason)"
        case .noCommonVersion(let oldest, let newest):
            """
            the peer speaks protocol versions \(oldest) to \(newest), this remusd \(ProtocolVersion.oldest) to \
            \(ProtocolVersion.newest): update the older one
            """
        }
    }
}

/// The 32 bytes before each body, little endian:
/// magic u32 | type u16 | zero u16 | body length u32 | CRC-32C u32 | session u64 | epoch u64.
///
/// The checksum covers the header with its own field zero and, but for data, the body.
package struct FrameHeader: Equatable, Sendable {
    /// Bytes of an encoded header.
    package static let size = 32
    /// Longest body of a control frame: a hello with a guest's whole configuration.
    package static let controlLimit: UInt32 = 1 << 20
    /// Longest body of a data frame.
    package static let dataLimit: UInt32 = 1 << 20
    /// The bytes `RMSD`.
    package static let magic: UInt32 = 0x4453_4D52

    package var type: FrameType
    package var length: UInt32
    /// The session this frame belongs to; 0 before there is one.
    package var session: UInt64
    package var epoch: UInt64

    package init(type: FrameType, length: UInt32, session: UInt64, epoch: UInt64) {
        self.type = type
        self.length = length
        self.session = session
        self.epoch = epoch
    }

    /// Writes the header for `body` (empty for a data frame, whose bytes follow from elsewhere).
    package func encode(into target: UnsafeMutableRawBufferPointer, body: UnsafeRawBufferPointer) {
        target.storeLE(Self.magic, at: 0)
        target.storeLE(type.rawValue, at: 4)
        target.storeLE(UInt16(0), at: 6)
        target.storeLE(length, at: 8)
        target.storeLE(UInt32(0), at: 12)
        target.storeLE(session, at: 16)
        target.storeLE(epoch, at: 24)
        target.storeLE(Self.checksum(UnsafeRawBufferPointer(target), body), at: 12)
    }

    /// Reads a header and checks magic, type and length, and a data frame's checksum.
    package init(decoding bytes: UnsafeRawBufferPointer) throws(FrameError) {
        let magic: UInt32 = bytes.loadLE(at: 0)
        guard magic == Self.magic else { throw .badMagic(magic) }
        let rawType: UInt16 = bytes.loadLE(at: 4)
        guard let type = FrameType(rawValue: rawType) else { throw .unknownType(rawType) }
        self.init(
            type: type,
            length: bytes.loadLE(at: 8),
            session: bytes.loadLE(at: 16),
            epoch: bytes.loadLE(at: 24)
        )
        let limit = type.isData ? Self.dataLimit : Self.controlLimit
        guard length <= limit else { throw .tooLong(type, length: length, limit: limit) }
        if type.isData { try check(bytes, body: UnsafeRawBufferPointer(start: nil, count: 0)) }
    }

    /// Checks the checksum over header and body.
    package func check(_ header: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer) throws(FrameError) {
        let sent: UInt32 = header.loadLE(at: 12)
        guard sent == Self.checksum(header, body) else { throw .badChecksum(type) }
    }

    private static func checksum(_ header: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer) -> UInt32 {
        var zero: UInt32 = 0
        var crc = ckernels_crc32c(0, header.baseAddress, 12)
        crc = ckernels_crc32c(crc, &zero, 4)
        crc = ckernels_crc32c(crc, header.baseAddress?.advanced(by: 16), 16)
        return body.isEmpty ? crc : ckernels_crc32c(crc, body.baseAddress, body.count)
    }
}

extension UnsafeRawBufferPointer {
    func loadLE<T: FixedWidthInteger>(at offset: Int) -> T {
        T(littleEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
    }
}

extension UnsafeMutableRawBufferPointer {
    func storeLE<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
    }
}
