import EmbeddedHost

/// The control socket of an embedded guest: `GET /v1/status`, `POST /v1/stop`.
package enum EmbeddedGuestControl {
    /// Threads for `serve`. Neither of its answers blocks, and each thread delays a guest that is activated.
    package static func threads() -> ControlThreads { ControlThreads(handlers: 1, orders: 1, producers: 1) }

    /// Serves `guest-NAME.sock`, with `threads`, until the server is stopped or let go.
    package static func serve(
        _ host: EmbeddedGuestHost,
        paths: Paths,
        _ threads: ControlThreads
    ) throws -> ControlServer {
        var router = ControlRouter()
        router.on("GET", "/v1/status") { _, _ in .encoding(EmbeddedGuestStatus(host.status)) }
        router.on("POST", "/v1/stop") { _, _ in
            host.stop()
            return .encoding(["outcome": "stopping"])
        }
        let name = try GuestName(host.configuration.name)
        return try ControlServer(path: try paths.guestSocket(name), threads: threads, handler: router.handle)
    }
}

extension EmbeddedGuestStatus {
    init(_ snapshot: EmbeddedGuestSnapshot) {
        self.init(
            name: snapshot.name,
            uuid: "\(snapshot.uuid)",
            pid: snapshot.pid,
            address: snapshot.address,
            memoryBytes: UInt64(snapshot.memoryBytes),
            populatedBytes: UInt64(snapshot.populatedBytes),
            state: snapshot.state.rawValue,
            controlled: snapshot.isControlled,
            plug: "\(snapshot.plug)",
            heldBytes: UInt64(snapshot.heldBytes),
            keys: snapshot.keys,
            commands: snapshot.commands
        )
    }
}
