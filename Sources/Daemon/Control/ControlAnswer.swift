import NIOCore
import NIOHTTP1

/// Sends one answer over one connection, from any thread.
struct ControlAnswer: Sendable {
    let channel: any Channel
    let keepAlive: Bool
    /// For HEAD: the header alone.
    let headOnly: Bool
    let limits: ControlServer.Limits

    /// Bytes sent at once: what lies in memory of a stream.
    private static let pieceBytes = 256 << 10

    /// Sends a whole answer. A `stream` must go to `stream(_:_:)` instead.
    func send(_ response: ControlResponse) -> EventLoopFuture<Void> {
        guard case .json(let status, let bytes) = response else {
            return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        var header = head(status, contentType: "application/json")
        header.headers.add(name: "Content-Length", value: String(bytes.count))
        return bounded { [header] in
            channel.write(HTTPServerResponsePart.head(header), promise: nil)
            if !headOnly {
                channel.write(
                    HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: bytes))),
                    promise: nil
                )
            }
            return channel.writeAndFlush(HTTPServerResponsePart.end(nil))
        }
    }

    /// Runs `produce` on this thread and sends what it makes, a piece at a time.
    /// - Returns: a failure once the answer is cut: the caller then closes the connection, and the missing last chunk
    ///   tells the client (RFC 9112, section 8).
    func stream(
        _ contentType: String,
        _ produce: (ControlResponse.Sink) throws -> Void
    ) -> EventLoopFuture<Void> {
        var started = false
        func start() throws {
            guard !started else { return }
            started = true
            var header = head(200, contentType: contentType)
            header.headers.add(name: "Transfer-Encoding", value: "chunked")
            try bounded { [header] in channel.writeAndFlush(HTTPServerResponsePart.head(header)) }.wait()
        }
        do {
            try produce { bytes in
                try start()
                var rest = bytes
                while !rest.isEmpty {
                    let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.pieceBytes))
                    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(piece.count))
                    let buffer = ByteBuffer(bytes: piece)
                    try bounded { channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(buffer))) }
                        .wait()
                }
            }
            try start()
            return bounded { channel.writeAndFlush(HTTPServerResponsePart.end(nil)) }
        } catch {
            if started { return channel.eventLoop.makeFailedFuture(error) }
            if let failure = error as? ControlFailure { return send(failure.response) }
            return send(.failure(status: 500, code: "internal", message: "\(error)"))
        }
    }

    private func head(_ status: Int, contentType: String) -> HTTPResponseHead {
        HTTPResponseHead(
            version: .http1_1,
            status: HTTPResponseStatus(statusCode: status),
            headers: [
                "Content-Type": contentType, "Cache-Control": "no-store",
                "Connection": keepAlive ? "keep-alive" : "close",
            ]
        )
    }

    /// Runs `write` on the event loop, at once if that is where we are (after a parser's error there is no later).
    /// A client that does not take it in time loses the connection, and the write fails.
    private func bounded(_ write: @escaping @Sendable () -> EventLoopFuture<Void>) -> EventLoopFuture<Void> {
        let work: @Sendable () -> EventLoopFuture<Void> = {
            let deadline = channel.eventLoop.scheduleTask(in: .milliseconds(limits.writeMilliseconds)) {
                channel.close(promise: nil)
            }
            let written = write()
            written.whenComplete { _ in deadline.cancel() }
            return written
        }
        return channel.eventLoop.inEventLoop ? work() : channel.eventLoop.flatSubmit(work)
    }
}
