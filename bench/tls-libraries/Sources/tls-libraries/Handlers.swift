import NIOCore
import NIOTLS

/// What a channel's last handler is told to do, as an event from outside; done when each unit is answered.
struct MoveOrder: Sendable {
    let units: Int
}

/// The sending end's last handler: writes as long as the channel is writable.
final class SendingHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    private let memory: ByteBuffer
    private var handshake: HandshakeReport
    private var unsent = 0
    private var unanswered = 0
    private var done: EventLoopPromise<Void>?
    private var isWriting = false

    init(_ terms: Terms, _ agreed: EventLoopPromise<CipherSuite>) {
        memory = ByteBuffer(repeating: 7, count: terms.writeSize)
        handshake = HandshakeReport(agreed)
    }

    func triggerUserOutboundEvent(
        context: ChannelHandlerContext,
        event: Any,
        promise: EventLoopPromise<Void>?
    ) {
        guard let order = event as? MoveOrder else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        unsent = order.units * Terms.unit
        unanswered = order.units
        done = promise
        write(context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) { write(context) }

    /// A write that the kernel takes at once makes the channel writable again before it returns: the loop that is
    /// running goes on then, and none is begun inside it.
    private func write(_ context: ChannelHandlerContext) {
        guard !isWriting else { return }
        isWriting = true
        defer { isWriting = false }
        while unsent > 0, context.channel.isWritable {
            let piece = memory.getSlice(at: 0, length: min(unsent, memory.readableBytes)) ?? memory
            unsent -= piece.readableBytes
            context.writeAndFlush(wrapOutboundOut(piece), promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        unanswered -= unwrapInboundIn(data).readableBytes
        if unanswered <= 0 { finish(.success(())) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) { handshake.hear(event) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { fail(Failure("the receiver is gone")) }

    private func fail(_ error: any Error) {
        handshake.fail(error)
        finish(.failure(error))
    }

    private func finish(_ result: Result<Void, any Error>) {
        done?.completeWith(result)
        done = nil
        unsent = 0
    }
}

/// The receiving end's last handler: counts what arrives, and answers each unit with one byte.
final class AnsweringHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let answer = ByteBuffer(repeating: 7, count: 1)
    private var handshake: HandshakeReport
    private var left = Terms.unit

    init(_ agreed: EventLoopPromise<CipherSuite>) { handshake = HandshakeReport(agreed) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        left -= unwrapInboundIn(data).readableBytes
        while left <= 0 {
            context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
            left += Terms.unit
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) { handshake.hear(event) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        handshake.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        handshake.fail(Failure("the sender is gone"))
    }
}

/// What a channel's last handler tells of the handshake: once, what was agreed on, or why nothing was.
struct HandshakeReport {
    private var agreed: EventLoopPromise<CipherSuite>?
    private var suite: CipherSuite?

    init(_ agreed: EventLoopPromise<CipherSuite>) { self.agreed = agreed }

    mutating func hear(_ event: Any) {
        if let suite = event as? CipherSuite { self.suite = suite }
        guard case .handshakeCompleted? = event as? TLSUserEvent else { return }
        guard let suite else {
            fail(Failure("no cipher suite was seen on the wire"))
            return
        }
        agreed?.succeed(suite)
        agreed = nil
    }

    mutating func fail(_ error: any Error) {
        agreed?.fail(error)
        agreed = nil
    }
}
