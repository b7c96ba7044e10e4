/// A TLS library under measurement: one end of one connection.
///
/// What is measured is `move`, and nothing of the handshake.
protocol TLSLibrary {
    /// Shakes hands over a connected TCP socket, which is the library's from then on.
    init(socket: Int32, end: End, terms: Terms) throws
    /// What both ends agreed on.
    var suite: CipherSuite { get }
    /// Sends so many units, and returns when the receiver has answered each of them with one byte.
    func move(units: Int) throws
    /// Receives units and answers each with one byte, until the sender is gone.
    func answer() throws
}

/// Which end of a connection; the sending one began it.
enum End: String, Sendable {
    case sending, receiving
}

/// What both ends of a connection know beforehand.
struct Terms: Sendable {
    /// Bytes that are answered with one byte.
    static let unit = 64 << 20

    let suite: CipherSuite
    /// Bytes that the sender gives to the library at a time.
    let writeSize: Int
}

/// Cipher suites of TLS 1.3, by their numbers (RFC 8446, B.4).
enum CipherSuite: UInt16, Sendable {
    case aes128 = 0x1301
    case aes256 = 0x1302
    case chacha20 = 0x1303

    var name: String {
        switch self {
        case .aes128: "TLS_AES_128_GCM_SHA256"
        case .aes256: "TLS_AES_256_GCM_SHA384"
        case .chacha20: "TLS_CHACHA20_POLY1305_SHA256"
        }
    }
}

/// Why there is no measurement.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
