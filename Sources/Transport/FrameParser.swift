import Checkpoint

/// Takes control frames out of bytes as they come. What a primary reads: acks, heartbeats, answers.
///
/// Owns one buffer, of the longest control frame; allocates nothing afterwards.
package struct FrameParser: ~Copyable {
    private let buffer: UnsafeMutableRawBufferPointer
    private var filled = 0

    package init() {
        buffer = .allocate(byteCount: FrameHeader.size + Int(FrameHeader.controlLimit), alignment: 16)
    }

    deinit { buffer.deallocate() }

    /// Where the next bytes go.
    package var free: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
    }

    /// Takes `count` bytes that were put into `free`, and hands out every whole message.
    /// - Throws: `FrameError` for anything that is no control frame.
    package mutating func received(
        _ count: Int,
        _ handle: (_ message: Message, _ session: UInt64) -> Void
    ) throws(FrameError) {
        filled += count
        var start = 0
        while filled - start >= FrameHeader.size {
            let bytes = UnsafeRawBufferPointer(rebasing: buffer[start..<filled])
            let header = try FrameHeader(decoding: bytes)
            guard !header.type.isData else {
                throw .badBody(header.type, "data flows from the primary only")
            }
            let whole = FrameHeader.size + Int(header.length)
            guard bytes.count >= whole else { break }
            let body = UnsafeRawBufferPointer(rebasing: bytes[FrameHeader.size..<whole])
            try header.check(bytes, body: body)
            handle(try Message(header, body: body), header.session)
            start += whole
        }
        if start > 0 {
            let rest = UnsafeRawBufferPointer(rebasing: buffer[start..<filled])
            buffer.copyMemory(from: rest)
            filled -= start
        }
    }
}
