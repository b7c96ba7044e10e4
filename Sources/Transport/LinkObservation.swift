import Checkpoint
import Glibc
import SystemSupport

/// A connection whose socket the kernel can be asked about.
package protocol ObservedConnection {
    /// The socket's number.
    var descriptor: Int32 { get }
}

extension PrimaryConnection: ObservedConnection {}
extension StandbyConnection: ObservedConnection {}

extension ObservedConnection {
    /// What the kernel knows of the connection now; nil for what is no TCP connection.
    package var kernelFacts: LinkFacts.Kernel? {
        TCPInfo(of: descriptor).map {
            LinkFacts.Kernel(
                unacknowledged: $0.unacknowledged,
                unsentBytes: $0.unsentBytes,
                sinceAcknowledgement: .milliseconds(UInt64($0.sinceAcknowledgement)),
                sinceData: .milliseconds(UInt64($0.sinceData))
            )
        }
    }

    /// Bounds what the kernel does by itself to keep the connection (`LinkFailure.kernelLimit`).
    package func limitKernel(aloneAfter: TimeSpan) {
        let limit = LinkFailure.kernelLimit(aloneAfter: aloneAfter).milliseconds
        TCP.limitUnacknowledged(descriptor, milliseconds: Int32(clamping: limit))
    }
}

extension LinkFacts.End {
    /// How a connection ended that threw `error`.
    package init(_ error: ConnectionError) {
        switch error {
        case .closed: self = .byPeer
        case .frame: self = .violation
        case .refused: self = .refused
        // Longer than that it was waited for (`StandbyConnection`).
        case .stalled: self = .silence(.seconds(1))
        case .system(let error): self.init(error)
        }
    }

    /// How a connection ended, or was not made, by the kernel's word.
    package init(_ error: SystemError) {
        switch error.code {
        case ECONNREFUSED: self = .nobodyListens
        case ECONNRESET, EPIPE, ENOTCONN: self = .byPeer
        case ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, ENONET: self = .noAnswer
        default: self = .byUs
        }
    }
}
