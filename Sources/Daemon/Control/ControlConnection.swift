import NIOCore
import NIOHTTP1
import SystemSupport

/// One connection to a control socket: gathers a request, has it answered on another thread, and starts over.
///
/// Lives on its event loop; the answer comes back to it through `NIOLoopBound`.
final class ControlConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// Nothing of the next request is here yet.
        case idle
        /// Its head is here, and this much of its body.
        case reading(HTTPRequestHead, ByteBuffer)
        /// A thread works at the answer. The pipeline delivers the next head only once that answer's end is written.
        case answering
        /// The last answer on this connection: whatever else comes is thrown away.
        case discarding
    }

    private let limits: ControlServer.Limits
    private let threads: ControlThreads
    private let handler: @Sendable (ControlRequest) -> ControlResponse
    private var state = State.idle
    private var deadline: Scheduled<Void>?
    /// Requests begun: tells whether an answer that has just left was the newest request's.
    private var requests: UInt64 = 0
    private var peer: PeerCredentials?

    init(
        limits: ControlServer.Limits,
        threads: ControlThreads,
        handler: @escaping @Sendable (ControlRequest) -> ControlResponse
    ) {
        self.limits = limits
        self.threads = threads
        self.handler = handler
    }

    func channelActive(context: ChannelHandlerContext) {
        expectRequest(context.channel)
        let this = NIOLoopBound(self, eventLoop: context.eventLoop)
        (context.channel as? any SocketOptionProvider)?
            .unsafeGetSocketOption(level: .socket, name: .init(rawValue: PeerCredentials.option))
            .whenSuccess { (peer: PeerCredentials) in this.value.peer = peer }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (Self.unwrapInboundIn(data), state) {
        case (.head(let head), .idle), (.head(let head), .answering):
            if case .answering = state { expectRequest(context.channel) }
            requests += 1
            state = .reading(head, ByteBuffer())
            if let length = head.headers.first(name: "content-length").flatMap({ Int($0) }),
                length > limits.bodyBytes
            {
                refuse(bodyTooLarge, context.channel)
            }
        case (.body(let piece), .reading(let head, var body)):
            state = .idle  // Gives up the only other reference to the buffer, so that it grows in place.
            guard body.readableBytes + piece.readableBytes <= limits.bodyBytes else {
                state = .discarding
                return refuse(bodyTooLarge, context.channel)
            }
            body.writeImmutableBuffer(piece)
            state = .reading(head, body)
        case (.end, .reading(let head, let body)):
            deadline?.cancel()
            state = head.isKeepAlive ? .answering : .discarding
            answer(head, body, context.channel)
        default: break  // The rest of a refused request.
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch state {
        case .idle, .reading:
            guard let parsing = error as? HTTPParserError else { break }
            let tooLong = parsing == .headerOverflow
            return refuse(
                ControlFailure(
                    status: tooLong ? 431 : 400,
                    code: tooLong ? "header_too_large" : "bad_request",
                    message: tooLong
                        ? "the request's header is too long" : "this is not an HTTP request: \(parsing)"
                ),
                context.channel
            )
        case .answering, .discarding: break
        }
        context.close(promise: nil)
    }

    private var bodyTooLarge: ControlFailure {
        ControlFailure(
            status: 413,
            code: "body_too_large",
            message: "the body has more than \(ByteSize(bytes: UInt64(limits.bodyBytes)))"
        )
    }

    /// Starts the time that the next request may take, however slowly it trickles in.
    private func expectRequest(_ channel: any Channel) {
        state = .idle
        deadline?.cancel()
        deadline = channel.eventLoop.scheduleTask(in: .milliseconds(limits.requestMilliseconds)) {
            channel.close(promise: nil)
        }
    }

    /// Answers before the request is whole. The client may still be sending: its bytes are thrown away for as long
    /// as a request may take, because closing on unread bytes would destroy the answer.
    private func refuse(_ failure: ControlFailure, _ channel: any Channel) {
        state = .discarding
        let answer = ControlAnswer(channel: channel, keepAlive: false, headOnly: false, limits: limits)
        answer.send(failure.response).whenComplete { _ in channel.close(mode: .output, promise: nil) }
    }

    private func answer(_ head: HTTPRequestHead, _ body: ByteBuffer, _ channel: any Channel) {
        let answer = ControlAnswer(
            channel: channel,
            keepAlive: head.isKeepAlive,
            headOnly: head.method == .HEAD,
            limits: limits
        )
        let this = NIOLoopBound(self, eventLoop: channel.eventLoop)
        let number = requests
        let finish: @Sendable (Result<Void, any Error>) -> Void = { result in
            guard case .success = result, head.isKeepAlive else { return channel.close(promise: nil) }
            if this.value.requests == number { this.value.expectRequest(channel) }
        }
        guard let request = ControlRequest(head, body, peer) else {
            answer.send(
                .failure(status: 400, code: "bad_path", message: "the path is not percent-encoded UTF-8")
            )
            .whenComplete(finish)
            return
        }
        threads.answer(isOrder: head.method != .GET && head.method != .HEAD) { [threads, handler] in
            switch handler(request) {
            case .json(let status, let bytes):
                answer.send(.json(status: status, body: bytes)).whenComplete(finish)
            case .stream(let contentType, let produce):
                guard head.version == .http1_1 else {
                    // HTTP/1.0 ends a body by closing: a cut stream would look whole.
                    answer.send(.failure(status: 505, code: "http_version", message: "streams need HTTP/1.1"))
                        .whenComplete(finish)
                    return
                }
                threads.produce { answer.stream(contentType, produce).whenComplete(finish) }
            }
        }
    }
}

extension ControlRequest {
    /// Nil if the path or query is not percent-encoded UTF-8.
    fileprivate init?(_ head: HTTPRequestHead, _ body: ByteBuffer, _ peer: PeerCredentials?) {
        let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let path = PercentEncoding.decode(parts.first ?? "") else { return nil }
        var query: [String: String] = [:]
        for pair in parts.dropFirst().joined().split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = PercentEncoding.decode(sides[0]),
                let value = PercentEncoding.decode(sides.count > 1 ? sides[1] : "")
            else { return nil }
            query[name] = value
        }
        self.init(
            method: head.method.rawValue,
            path: path,
            query: query,
            body: Array(body.readableBytesView),
            peer: peer
        )
    }
}
