import Glibc
import Synchronization
import SystemSupport

/// Where primaries connect over loopback: hands them to the standby, and notes when the kernel tells the end of a connection,
/// whatever the standby makes of that.
final class WatchedDoor: Sendable {
    let address: SocketAddress
    private let listener: Descriptor
    private let end = Mutex<UInt64?>(nil)

    init(to host: StandbyHost) throws {
        listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        address = try TCP.localAddress(of: listener)
        // It goes with the process: it waits for whoever may come.
        try WorkerThread("door") { [self] in
            while let socket = (try? TCP.accept(listener)) ?? nil {
                guard (try? TCP.setOption(socket, Int32(IPPROTO_TCP), TCP_NODELAY, 1)) != nil,
                    let watched = try? socket.duplicate(), (try? host.serve(socket)) != nil
                else { continue }
                // Between two ends, `false` is a signal that came.
                while !Poll.peerHasClosed(watched.raw, within: -1) {}
                let now = Clock.boot
                end.withLock { $0 = now }
            }
        }.detach()
    }

    /// When the last connection's end was told; nanoseconds of the boot clock.
    var endSeen: UInt64? { end.withLock { $0 } }
}
