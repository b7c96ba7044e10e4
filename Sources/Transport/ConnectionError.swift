import Checkpoint
import SystemSupport

/// Why a connection is of no more use.
package enum ConnectionError: Error, Sendable, CustomStringConvertible {
    case system(SystemError)
    case frame(FrameError)
    case closed
    /// The peer, named, said nothing more in the middle of a frame.
    case stalled(String)
    /// The two sides do not trust each other, or do not speak the same; in words for both logs.
    case refused(String)

    package var description: String {
        switch self {
        case .system(let error): error.description
        case .frame(.badMagic(let magic)) where magic & 0xFFFF == TLSRecord.alert:
            "the peer speaks TLS, and this side plaintext: use --tls (remusd pair), or --insecure-plaintext on both sides"
        case .frame(.badMagic(let magic)) where magic & 0xFFFF == TLSRecord.handshake:
            "the peer speaks TLS, and this side plaintext: use --tls (remusd pair), or --insecure-plaintext on both sides"
        case .frame(let error): error.description
        case .closed: "the peer closed the connection"
        case .stalled(let peer): "\(peer) said nothing more in the middle of a frame"
        case .refused(let reason): reason
        }
    }
}

/// How TLS begins, read as a frame's magic: content type and the version's first byte (RFC 8446, 5.1).
private enum TLSRecord {
    static let alert: UInt32 = 0x0315, handshake: UInt32 = 0x0316
}
