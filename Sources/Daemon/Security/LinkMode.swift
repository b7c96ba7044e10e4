import SystemSupport
import Transport

/// Whether a connection is under TLS: what somebody chose, or what goes by the address.
package enum LinkMode: String, Codable, CaseIterable, Sendable {
    case tls, plaintext

    /// Plaintext on loopback, TLS elsewhere.
    package init(for address: SocketAddress) { self = address.isLoopback ? .plaintext : .tls }

    /// What protects a connection.
    /// - Parameter guest: the one that the connection is for, if for one only.
    package func security(_ paths: Paths, guest: String? = nil) throws -> LinkSecurity {
        switch self {
        case .plaintext: .plaintext
        case .tls: try HostIdentity.security(paths, guest: guest)
        }
    }
}

extension LinkSecurity {
    /// What was chosen.
    var mode: LinkMode {
        switch self {
        case .plaintext: .plaintext
        case .tls: .tls
        }
    }
}
