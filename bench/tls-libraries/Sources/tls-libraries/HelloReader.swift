import NIOCore

/// Reads on the wire, below the library, which cipher suite is agreed on, because NIOSSL tells nobody. Fires it as an event,
/// and leaves the pipeline.
final class HelloReader: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    private var isDone = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        look(at: unwrapInboundIn(data), context)
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        look(at: unwrapOutboundIn(data), context)
        context.write(data, promise: promise)
    }

    /// Not earlier: what is written may be flushed through this handler's context once `write` has returned.
    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        if isDone { context.pipeline.syncOperations.removeHandler(self, promise: nil) }
    }

    private func look(at bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        guard !isDone, let suite = Self.suite(in: bytes) else { return }
        isDone = true
        context.fireUserInboundEventTriggered(suite)
    }

    /// The suite of a ServerHello: a record of type 22 (RFC 8446, 5.1) with a message of type 2 (4), which has it after
    /// legacy_version, random and legacy_session_id_echo (4.1.3).
    static func suite(in bytes: ByteBuffer) -> CipherSuite? {
        let start = bytes.readerIndex
        guard bytes.getInteger(at: start, as: UInt8.self) == 22,
            bytes.getInteger(at: start + 5, as: UInt8.self) == 2,
            let echo = bytes.getInteger(at: start + 43, as: UInt8.self),
            let suite = bytes.getInteger(at: start + 44 + Int(echo), as: UInt16.self)
        else { return nil }
        return CipherSuite(rawValue: suite)
    }
}
