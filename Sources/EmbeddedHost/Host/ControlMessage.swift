import Checkpoint
import XenStream

/// The channel between an embedded guest and its controller (`remusd protect`): a unix stream socket.
///
/// The controller sends requests of 32 bytes; the guest answers each but `resume` with a reply of 32 bytes and a
/// payload. The guest also sends events, which are replies with number 0. All little endian.
///
///     request  u32 magic  u16 operation  u16 0       u32 number  u32 0       u64 argument  u64 0
///     reply    u32 magic  u16 operation  u16 status  u32 number  u32 length  u64 value     u64 0
///
/// Whoever connects may ask `describe`; `attach` makes him the controller, one at a time, until his connection ends.
/// The reply to `suspend` comes when the guest has suspended; `cancel` and `resume` are taken meanwhile.
enum ControlMessage {
    static let magic: UInt32 = 0x3143_4752  // "RGC1"
    static let size = 32
    /// The longest payload of a reply.
    static let maximumPayload = 4096

    enum Operation: UInt16 {
        /// → description. Changes nothing.
        case describe = 1
        /// → description, and the RAM's descriptor.
        case attach = 2
        case startTracking = 3
        case stopTracking = 4
        /// → registers, once suspended.
        case suspend = 5
        /// Takes a suspend request back; the guest runs when the reply comes.
        case cancel = 6
        /// Has no reply.
        case resume = 7
        /// argument: epoch.
        case cut = 8
        /// argument: epoch.
        case release = 9
        case releaseAll = 10
        case dropAll = 11
        /// → bytes held.
        case held = 12
        /// The controller has done what it had to about the guest's end: the guest may exit.
        case finish = 13
        /// All output held so far belongs to the epoch that is cut next.
        case absorb = 14
        /// Event. value: `EndKind`.
        case ending = 100
    }

    enum Status: UInt16 {
        case done = 0
        /// payload: why, in UTF-8.
        case refused = 1
        /// To `suspend`: the guest has ended. value: `EndKind`.
        case ended = 2
    }

    enum EndKind: UInt64 {
        case shutdown = 0

        var end: GuestEnd {
            switch self {
            case .shutdown: .shutdown
            }
        }
    }

    struct Request: Equatable {
        var operation: Operation
        var number: UInt32
        var argument: UInt64 = 0

        func encode(to target: UnsafeMutableRawPointer) {
            put(target, magic, operation.rawValue, 0, number, 0, argument, 0)
        }

        /// Nil for anything that is no request.
        init?(_ base: UnsafeRawPointer) {
            guard base.u32(0) == magic, let operation = Operation(rawValue: base.u16(4)), base.u16(6) == 0,
                base.u32(12) == 0, base.u64(24) == 0
            else { return nil }
            self.init(operation: operation, number: base.u32(8), argument: base.u64(16))
        }

        init(operation: Operation, number: UInt32, argument: UInt64 = 0) {
            self.operation = operation
            self.number = number
            self.argument = argument
        }
    }

    struct Reply: Equatable {
        var operation: Operation
        var status: Status
        var number: UInt32
        var length: Int = 0
        var value: UInt64 = 0

        func encode(to target: UnsafeMutableRawPointer) {
            put(target, magic, operation.rawValue, status.rawValue, number, UInt32(length), value, 0)
        }

        /// Nil for anything that is no reply.
        init?(_ base: UnsafeRawPointer) {
            guard base.u32(0) == magic, let operation = Operation(rawValue: base.u16(4)),
                let status = Status(rawValue: base.u16(6)), base.u32(12) <= maximumPayload
            else { return nil }
            self.init(operation: operation, status: status, number: base.u32(8))
            length = Int(base.u32(12))
            value = base.u64(16)
        }

        init(operation: Operation, status: Status, number: UInt32, length: Int = 0, value: UInt64 = 0) {
            self.operation = operation
            self.status = status
            self.number = number
            self.length = length
            self.value = value
        }
    }

    private static func put(
        _ target: UnsafeMutableRawPointer,
        _ magic: UInt32,
        _ operation: UInt16,
        _ status: UInt16,
        _ number: UInt32,
        _ length: UInt32,
        _ value: UInt64,
        _ second: UInt64
    ) {
        target.storeBytes(of: magic.littleEndian, as: UInt32.self)
        target.storeBytes(of: operation.littleEndian, toByteOffset: 4, as: UInt16.self)
        target.storeBytes(of: status.littleEndian, toByteOffset: 6, as: UInt16.self)
        target.storeBytes(of: number.littleEndian, toByteOffset: 8, as: UInt32.self)
        target.storeBytes(of: length.littleEndian, toByteOffset: 12, as: UInt32.self)
        target.storeBytes(of: value.littleEndian, toByteOffset: 16, as: UInt64.self)
        target.storeBytes(of: second.littleEndian, toByteOffset: 24, as: UInt64.self)
    }
}

/// What a guest says of itself to whoever connects to its control socket.
struct ControlDescription: Equatable {
    var uuid: GuestUUID
    var pageCount: UInt64
    /// Where the RAM is mapped in the guest's process, for PAGEMAP_SCAN.
    var memoryAddress: UInt64
    var pid: Int32
    /// Of the process, in clock ticks since boot: with the pid, a name that no later process has.
    var startTime: UInt64
    /// Output was not passing freely.
    var isPlugShut: Bool
    var name: String
    var address: String

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        func put<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }
        put(uuid.high)
        put(uuid.low)
        put(pageCount)
        put(memoryAddress)
        put(startTime)
        put(pid)
        put(UInt32(isPlugShut ? 1 : 0))
        for text in [name, address] {
            let utf8 = Array(text.utf8.prefix(1024))
            put(UInt32(utf8.count))
            bytes += utf8
        }
        return bytes
    }

    init(
        uuid: GuestUUID,
        pageCount: UInt64,
        memoryAddress: UInt64,
        pid: Int32,
        startTime: UInt64,
        isPlugShut: Bool,
        name: String,
        address: String
    ) {
        self.uuid = uuid
        self.pageCount = pageCount
        self.memoryAddress = memoryAddress
        self.pid = pid
        self.startTime = startTime
        self.isPlugShut = isPlugShut
        self.name = name
        self.address = address
    }

    /// Nil unless the bytes are whole and the sizes plausible.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, bytes.count >= 52 else { return nil }
        var offset = 48
        var texts: [String] = []
        for _ in 0..<2 {
            guard bytes.count - offset >= 4 else { return nil }
            let length = Int(base.u32(offset))
            guard length <= bytes.count - offset - 4 else { return nil }
            texts.append(String(decoding: bytes[offset + 4..<offset + 4 + length], as: UTF8.self))
            offset += 4 + length
        }
        self.init(
            uuid: GuestUUID(high: base.u64(0), low: base.u64(8)),
            pageCount: base.u64(16),
            memoryAddress: base.u64(24),
            pid: Int32(truncatingIfNeeded: base.u32(40)),
            startTime: base.u64(32),
            isPlugShut: base.u32(44) != 0,
            name: texts[0],
            address: texts[1]
        )
        guard pageCount <= 8 << 18 else { return nil }
    }
}
