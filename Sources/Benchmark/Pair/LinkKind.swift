import SystemSupport

/// What is between the two sides.
package enum LinkKind: String, CaseIterable, Sendable {
    case unix, tcp, tls

    /// For the table.
    package var title: String {
        switch self {
        case .unix: "unix socket"
        case .tcp: "TCP loopback"
        case .tls: "TLS over TCP loopback"
        }
    }
}

/// Where the two sides run.
package struct Placement: Equatable, Sendable {
    /// Numbers of processors.
    package let primary: Int, standby: Int

    /// The first two that this process may run on; the only one twice.
    package static var here: Placement {
        let allowed = ProcessorPin.allowed
        return Placement(
            primary: allowed.first ?? 0,
            standby: allowed.dropFirst().first ?? allowed.first ?? 0
        )
    }
}
