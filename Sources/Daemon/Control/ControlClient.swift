import Checkpoint
import NIOCore
import NIOHTTP1
import NIOPosix
import SystemSupport

/// Asks one of remusd's processes, blocking. Each request has its own connection. Not for use on an event loop.
package struct ControlClient: Sendable {
    /// A whole answer.
    package struct Reply: Sendable {
        /// The HTTP status.
        package let status: Int
        /// At most 16 MiB.
        package let body: [UInt8]

        /// The body as JSON.
        /// - Throws: `ControlFailure` if the status says it is an error, or the body is something else.
        package func decode<T: Decodable>(_ type: T.Type) throws(ControlFailure) -> T {
            guard status < 400 else { throw ControlFailure(status: status, body: body) }
            do {
                return try ControlJSON.decode(type, from: body)
            } catch {
                throw ControlFailure(
                    status: status,
                    code: "bad_answer",
                    message: "the answer is not what this remusd expects (is the other one older or newer?): "
                        + error.shortDescription
                )
            }
        }
    }

    /// The socket asked.
    package let path: String

    package init(path: String) { self.path = path }

    private static let bodyLimit: UInt64 = 16 << 20
    private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    /// Sends GET and waits for the whole answer.
    package func get(
        _ target: String,
        timeout: TimeSpan = .seconds(5)
    ) throws(ControlClientError) -> (status: Int, body: [UInt8]) {
        let reply = try wait(start("GET", target, body: nil, timeout: timeout))
        return (reply.status, reply.body)
    }

    /// Sends GET and decodes the answer.
    package func get<T: Decodable>(_ target: String, as type: T.Type, timeout: TimeSpan = .seconds(5)) throws
        -> T
    {
        try wait(start("GET", target, body: nil, timeout: timeout)).decode(type)
    }

    /// Sends POST with JSON (none: an empty body) and waits for the whole answer.
    package func post(
        _ target: String,
        json: [UInt8] = [],
        timeout: TimeSpan
    ) throws(ControlClientError) -> (status: Int, body: [UInt8]) {
        let reply = try wait(start("POST", target, body: json, timeout: timeout))
        return (reply.status, reply.body)
    }

    /// Sends POST with `value` as JSON and decodes the answer.
    package func post<T: Decodable>(
        _ target: String,
        _ value: (some Encodable)? = Optional<Int>.none,
        as type: T.Type,
        timeout: TimeSpan
    ) throws -> T {
        let body = try value.map { try ControlJSON.encode($0) } ?? []
        return try wait(start("POST", target, body: body, timeout: timeout)).decode(type)
    }

    /// Sends GET and writes the answer's body into `file` as it comes.
    /// - Parameters:
    ///   - stall: gives up when nothing comes for this long.
    ///   - progress: told the bytes written so far, after each piece, on another thread.
    /// - Returns: the bytes written.
    /// - Throws: `ControlFailure` for an error status; `ControlClientError`, `.brokeOff` for a body cut short. What
    ///   is in the file is then not to be used.
    package func download(
        _ target: String,
        to file: Int32,
        stall: TimeSpan = .seconds(60),
        progress: @escaping @Sendable (UInt64) -> Void = { _ in }
    ) throws -> UInt64 {
        // A loop of its own, which may therefore block in write(2): that is the backpressure.
        let own = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { try? own.syncShutdownGracefully() }
        let done = own.next().makePromise(of: ControlDownload.Outcome.self)
        let receiver = ControlDownload.Parameters(
            socket: path,
            file: file,
            stall: stall,
            errorLimit: Self.bodyLimit,
            progress: progress,
            done: done
        )
        connect(on: own.next(), "GET", target, body: nil) { ControlDownload(receiver) }.cascadeFailure(
            to: done
        )
        switch try wait(done.futureResult) {
        case .whole(let bytes): return bytes
        case .refused(let status, let body): throw ControlFailure(status: status, body: body)
        }
    }

    /// Sends a request; the future is the whole answer, or its `ControlClientError`.
    func start(
        _ method: String,
        _ target: String,
        body: [UInt8]?,
        timeout: TimeSpan
    ) -> EventLoopFuture<Reply> {
        let loop = Self.group.next()
        let done = loop.makePromise(of: Reply.self)
        let deadline = loop.scheduleTask(in: .nanoseconds(Int64(clamping: timeout.nanoseconds))) { [path] in
            done.fail(ControlClientError.timedOut(socket: path, after: timeout))
        }
        done.futureResult.whenComplete { _ in deadline.cancel() }
        let channel = connect(on: loop, method, target, body: body) { [path] in
            ControlReceiver(socket: path, limit: Self.bodyLimit, done: done)
        }
        channel.cascadeFailure(to: done)
        // Whatever ends the wait ends the connection.
        done.futureResult.whenComplete { _ in channel.whenSuccess { $0.close(promise: nil) } }
        return done.futureResult
    }

    private func connect(
        on loop: any EventLoop,
        _ method: String,
        _ target: String,
        body: [UInt8]?,
        _ receiver: @escaping @Sendable () -> some ChannelInboundHandler
    ) -> EventLoopFuture<any Channel> {
        ClientBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(receiver())
                }
            }
            .connect(unixDomainSocketPath: path)
            .map { channel in
                var head = HTTPRequestHead(
                    version: .http1_1,
                    method: HTTPMethod(rawValue: method),
                    uri: target
                )
                head.headers = ["Host": "remusd", "Connection": "close", "Accept": "application/json, */*"]
                if let body {
                    head.headers.add(name: "Content-Type", value: "application/json")
                    head.headers.add(name: "Content-Length", value: String(body.count))
                }
                channel.write(HTTPClientRequestPart.head(head), promise: nil)
                if let body, !body.isEmpty {
                    channel.write(
                        HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: body))),
                        promise: nil
                    )
                }
                // A failed write is no news: the server may have answered before it read all; the receiver decides.
                channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
                return channel
            }
            .flatMapErrorThrowing { [path] in throw ControlClientError(connecting: path, $0) }
    }

    private func wait<T: Sendable>(_ future: EventLoopFuture<T>) throws(ControlClientError) -> T {
        do {
            return try future.wait()
        } catch let error as ControlClientError {
            throw error
        } catch {
            throw .failed(socket: path, reason: "\(error)")
        }
    }
}

extension ControlClientError {
    /// What a failure to connect means.
    fileprivate init(connecting path: String, _ error: any Error) {
        switch (error as? IOError)?.errnoCode {
        case ENOENT, ENOTDIR: self = .notRunning(socket: path, stale: false)
        case ECONNREFUSED: self = .notRunning(socket: path, stale: true)
        // The process accepts nothing and its backlog is full (unix(7)): it hangs.
        case EAGAIN: self = .timedOut(socket: path, after: TimeSpan(nanoseconds: 0))
        case .some(let code):
            self = .failed(socket: path, reason: SystemError("connect", code: code).description)
        case .none: self = .failed(socket: path, reason: "\(error)")
        }
    }
}
