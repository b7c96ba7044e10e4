/// One message of the kernel's, within the buffer it was received into (linux/netlink.h, struct nlmsghdr: length, type,
/// flags, sequence, port; 16 bytes).
package struct NetlinkReply {
    package static let error: UInt16 = 2
    package static let done: UInt16 = 3

    package let type: UInt16
    package let flags: UInt16
    package let sequence: UInt32
    /// What follows the header.
    package let payload: UnsafeRawBufferPointer

    /// NLMSG_ERROR: the errno, 0 for an acknowledgement.
    package var errorCode: Int32 {
        payload.count >= 4 ? -payload.loadUnaligned(as: Int32.self) : 0
    }

    /// NLMSG_ERROR: the kernel's words, if it has any. They follow the header of the request, and the rest of it unless
    /// the reply is capped (NLM_F_CAPPED), when the reply has attributes at all (NLM_F_ACK_TLVS).
    package var errorDetail: String {
        guard flags & 0x200 != 0, payload.count >= 20 else { return "" }
        let length = Int(payload.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        let start = 4 + (flags & 0x100 != 0 ? 16 : (max(length, 16) + 3) & ~3)
        // NLMSGERR_ATTR_MSG
        return NetlinkAttributes(payload, from: start).first(1).map(NetlinkAttributes.text) ?? ""
    }

    /// The attributes after a fixed part of `offset` bytes.
    package func attributes(from offset: Int) -> NetlinkAttributes {
        NetlinkAttributes(payload, from: offset)
    }

    /// A number of the fixed part; 0 if the message is too short.
    package func field<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: T.Type) -> T {
        offset + MemoryLayout<T>.size <= payload.count
            ? payload.loadUnaligned(fromByteOffset: offset, as: type) : 0
    }
}

/// Walks the messages of one datagram.
package struct NetlinkReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// The next message; nil at the end, or where the bytes make no sense.
    package mutating func next() -> NetlinkReply? {
        guard offset + 16 <= bytes.count else { return nil }
        let length = Int(bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        guard length >= 16, length <= bytes.count - offset else { return nil }
        defer { offset += (length + 3) & ~3 }
        return NetlinkReply(
            type: bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt16.self),
            flags: bytes.loadUnaligned(fromByteOffset: offset + 6, as: UInt16.self),
            sequence: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt32.self),
            payload: UnsafeRawBufferPointer(rebasing: bytes[offset + 16..<offset + length])
        )
    }
}

/// Attributes of a message, or within one (struct nlattr: length, type; each begins at a multiple of 4).
package struct NetlinkAttributes {
    private let bytes: UnsafeRawBufferPointer

    package init(_ bytes: UnsafeRawBufferPointer, from offset: Int = 0) {
        self.bytes = UnsafeRawBufferPointer(rebasing: bytes[min(offset, bytes.count)...])
    }

    /// The contents of the first attribute of a type, flags in the type's upper bits aside.
    package func first(_ type: UInt16) -> UnsafeRawBufferPointer? {
        var offset = 0
        while offset + 4 <= bytes.count {
            let length = Int(bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            guard length >= 4, length <= bytes.count - offset else { return nil }
            if bytes.loadUnaligned(fromByteOffset: offset + 2, as: UInt16.self) & 0x3fff == type {
                return UnsafeRawBufferPointer(rebasing: bytes[offset + 4..<offset + length])
            }
            offset += (length + 3) & ~3
        }
        return nil
    }

    /// A text attribute, without the zero that ends it.
    package static func text(_ contents: UnsafeRawBufferPointer) -> String {
        String(decoding: contents.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// A number at an offset of an attribute's contents; 0 if it is too short.
    package static func number<T: FixedWidthInteger & BitwiseCopyable>(
        _ contents: UnsafeRawBufferPointer,
        at offset: Int,
        as type: T.Type
    ) -> T {
        offset + MemoryLayout<T>.size <= contents.count
            ? contents.loadUnaligned(fromByteOffset: offset, as: type) : 0
    }
}
