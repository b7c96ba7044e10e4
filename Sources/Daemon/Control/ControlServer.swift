import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import SystemSupport

/// Why a control socket cannot be served.
package struct ControlServerError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The socket.
    package let path: String
    /// Why, and what to do.
    package let reason: String

    package var description: String { "cannot serve \(path): \(reason)" }
}

/// Serves HTTP/1.1 on a unix socket (mode 0600): the only way in which commands talk to remusd's processes.
///
/// The handler and the producers of streams run on threads of their own pools and may block; nothing a client does or
/// leaves undone holds up another client, nor the caller.
package final class ControlServer: Sendable {
    /// What one client may ask for.
    package struct Limits: Sendable {
        /// Bytes of a request's body; more is answered with 413.
        package var bodyBytes = 1 << 20
        /// Bytes of a request's header, and of one field of it; more is answered with 431.
        package var headerBytes = 64 << 10, headerFieldBytes = 8 << 10
        /// Open connections; more are closed at once.
        package var connections = 64
        /// For a whole request to arrive, from the connection's start or the end of the answer before. In milliseconds.
        package var requestMilliseconds: Int64 = 10_000
        /// For the client to take one piece of an answer (256 KiB at most). In milliseconds.
        package var writeMilliseconds: Int64 = 30_000

        package init() {}
    }

    /// The socket.
    package let path: String

    /// The right to `path`; nil once stopped.
    private let lock: Mutex<SocketLock?>
    private let threads: ControlThreads
    private let connections: ControlConnections
    private let listener: any Channel

    /// Begins to serve.
    /// - Parameters:
    ///   - path: the socket. A dead predecessor's file is replaced; a living one's is not touched.
    ///   - threads: of its own, where they have been started already.
    ///   - handler: answers one request. Called on several threads at once, may block for seconds.
    /// - Throws: `ControlServerError` if another process serves `path`, `SystemError` if the socket cannot be made.
    package init(
        path: String,
        limits: Limits = Limits(),
        threads: ControlThreads? = nil,
        handler: @escaping @Sendable (ControlRequest) -> ControlResponse
    ) throws {
        guard let lock = try SocketLock(path: path + ".lock") else {
            throw ControlServerError(path: path, reason: "another process serves it; stop that one first")
        }
        self.path = path
        self.lock = Mutex(lock)
        let socket = try UnixSocket.listen(at: path)
        let threads = threads ?? ControlThreads()
        let connections = ControlConnections(limit: limits.connections)
        var decoding = NIOHTTPDecoderLimitConfiguration()
        decoding.maxHeaderListSize = limits.headerBytes
        decoding.maxHeaderFieldSize = limits.headerFieldBytes
        let limitsOfDecoder = decoding
        let bootstrap = ServerBootstrap(group: threads.group)
            .serverChannelOption(.backlog, value: 64)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard connections.add(channel) else { throw ChannelError.operationUnsupported }
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(
                        withPipeliningAssistance: true,
                        withErrorHandling: false,
                        withEncoderConfiguration: .init(),
                        withDecoderLimitConfiguration: limitsOfDecoder
                    )
                    try channel.pipeline.syncOperations.addHandler(
                        ControlConnection(limits: limits, threads: threads, handler: handler)
                    )
                }
            }
        do {
            // NIO takes a descriptor over; ours closes its own.
            let given = fcntl(socket.raw, F_DUPFD_CLOEXEC, 0)
            guard given >= 0 else { throw SystemError("hand over the socket \(path)") }
            listener = try bootstrap.withBoundSocket(given).wait()
        } catch {
            threads.stop()
            unlink(path)
            throw error
        }
        self.threads = threads
        self.connections = connections
    }

    deinit { stop(drainMilliseconds: 0) }

    /// Takes no more requests, removes the socket, lets answers under way end, and returns when they have.
    ///
    /// Not to be called by a handler or producer, which it would wait for.
    /// - Parameter drainMilliseconds: after this long, what is still under way is cut.
    package func stop(drainMilliseconds: Int64 = 5_000) {
        guard let held = lock.withLock({ $0.take() }) else { return }
        // Only while the lock is held is what lies at `path` ours.
        defer { withExtendedLifetime(held) {} }
        unlink(path)
        try? listener.close().wait()
        connections.drain(on: threads.group.next(), milliseconds: drainMilliseconds)
        threads.stop()
    }
}
