import NIOCore
import NIOHTTP1

/// Gathers one whole answer on the client's side.
final class ControlReceiver: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let socket: String
    private let limit: UInt64
    private let done: EventLoopPromise<ControlClient.Reply>
    private var status = 0
    private var body: [UInt8] = []

    init(socket: String, limit: UInt64, done: EventLoopPromise<ControlClient.Reply>) {
        self.socket = socket
        self.limit = limit
        self.done = done
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head): status = Int(head.status.code)
        case .body(let piece):
            guard body.count + piece.readableBytes <= limit else {
                done.fail(
                    ControlClientError.failed(
                        socket: socket,
                        reason: "the answer has more than \(limit) bytes"
                    )
                )
                return
            }
            body.append(contentsOf: piece.readableBytesView)
        case .end: done.succeed(ControlClient.Reply(status: status, body: body))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        done.fail(ControlClientError(receiving: UInt64(body.count), from: socket, error))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        done.fail(ControlClientError.brokeOff(socket: socket, received: UInt64(body.count)))
        context.fireChannelInactive()
    }
}

extension ControlClientError {
    /// What an error after connecting means.
    init(receiving received: UInt64, from socket: String, _ error: any Error) {
        switch error {
        case let error as ControlClientError: self = error
        case is IOError, HTTPParserError.invalidEOFState: self = .brokeOff(socket: socket, received: received)
        default: self = .failed(socket: socket, reason: "the answer is not HTTP: \(error)")
        }
    }
}
