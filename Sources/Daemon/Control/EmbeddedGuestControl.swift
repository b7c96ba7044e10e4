import Checkpoint
import EmbeddedHost
import SystemSupport

/// The control socket of an embedded guest: `GET /v1/status`, `POST /v1/stop`.
package enum EmbeddedGuestControl {
    /// The routes for `host`.
    package static func router(for host: EmbeddedGuestHost) -> ControlRouter {
        var router = ControlRouter()
        router.on("GET", "/v1/status") { _, _ in .encoding(status(of: host)) }
        router.on("POST", "/v1/stop") { _, _ in
            host.stop()
            return .encoding(status(of: host))
        }
        return router
    }

    private static func status(of host: EmbeddedGuestHost) -> EmbeddedGuestStatus {
        let guest = host.status
        return EmbeddedGuestStatus(
            name: guest.name,
            uuid: guest.uuid.description,
            pid: guest.pid,
            address: guest.address,
            memoryBytes: UInt64(guest.memoryBytes),
            populatedBytes: UInt64(guest.populatedBytes),
            state: guest.state.rawValue,
            controlled: guest.isControlled,
            plug: guest.plug.rawValue,
            heldBytes: UInt64(guest.heldBytes),
            keys: guest.keys,
            commands: guest.commands
        )
    }
}
