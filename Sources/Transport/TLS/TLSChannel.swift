import CTLS
import Glibc
import Synchronization
import SystemSupport

/// A connection under TLS 1.3, between two hosts that have pinned each other's keys.
///
/// Any thread may use it; one call at a time goes to OpenSSL, and none of them waits.
///
/// Unchecked: what OpenSSL has of the connection, and the variables, are touched under `lock` only.
final class TLSChannel: ByteChannel, @unchecked Sendable {
    /// Most of one record's contents (RFC 8446, 5.1).
    private static let recordLimit = 16 << 10

    let socket: Descriptor
    private let context: TLSContext
    private let ssl: OpaquePointer
    private let wire: UnsafeMutablePointer<CTLS_wire>
    private let check: PeerCheck
    /// Where a piece and the beginning of the next become one record.
    private let staging: UnsafeMutableRawBufferPointer
    private let lock = Mutex(())
    private var isEstablished = false
    private var wantsWrite = false
    private var records: UInt64 = 0
    private var cipher = "tls1.3"

    /// Begins over a socket that is connected; nothing is sent before `handshake`.
    init(over socket: Descriptor, _ context: TLSContext, accepting: Bool) throws(ConnectionError) {
        guard let ssl = SSL_new(context.context) else { throw .refused("no memory for TLS") }
        self.socket = socket
        self.context = context
        self.ssl = ssl
        wire = .allocate(capacity: 1)
        wire.initialize(to: CTLS_wire(socket: socket.raw, error: 0, ended: 0))
        check = PeerCheck(context.verify)
        staging = .allocate(byteCount: Self.recordLimit, alignment: 16)
        guard CTLS_attach(ssl, context.wireMethod, wire) == 1 else { throw .refused("no memory for TLS") }
        SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(check).toOpaque())
        if accepting { SSL_set_accept_state(ssl) } else { SSL_set_connect_state(ssl) }
    }

    deinit {
        SSL_free(ssl)
        wire.deallocate()
        staging.deallocate()
    }

    var peerHost: String? { lock.withLock { _ in isEstablished ? check.host : nil } }
    var transport: String { lock.withLock { _ in cipher } }
    var owesOutput: Bool { lock.withLock { _ in wantsWrite } }
    var hasBuffered: Bool { lock.withLock { _ in SSL_has_pending(ssl) == 1 } }

    func handshake() throws(ConnectionError) -> Bool {
        try lock.withLock { _ throws(ConnectionError) in
            guard try moved(CTLS_handshake(ssl, wire)) != nil else { return false }
            isEstablished = true
            if let name = SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)) {
                cipher = "tls1.3/" + String(cString: name)
            }
            return true
        }
    }

    func sendNow(
        _ first: UnsafeRawBufferPointer,
        _ second: UnsafeRawBufferPointer
    ) throws(ConnectionError) -> Int? {
        try lock.withLock { _ throws(ConnectionError) in
            var record = first.isEmpty ? second : first
            if !first.isEmpty, !second.isEmpty, first.count < Self.recordLimit {
                // What was not taken comes again, and so makes the same record again.
                let count = min(second.count, Self.recordLimit - first.count)
                staging.copyMemory(from: first)
                UnsafeMutableRawBufferPointer(rebasing: staging[first.count...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: second[..<count]))
                record = UnsafeRawBufferPointer(rebasing: staging[..<(first.count + count)])
            }
            guard !record.isEmpty else { return 0 }
            guard let count = try moved(CTLS_write(ssl, wire, record.baseAddress, record.count)) else {
                return nil
            }
            records += 1
            if records.isMultiple(of: context.recordsPerKey) {
                // It goes out before the next record. The peer's own direction is the peer's to renew.
                SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED)
            }
            return count
        }
    }

    func receiveNow(into target: UnsafeMutableRawBufferPointer) throws(ConnectionError) -> Int? {
        try lock.withLock { _ throws(ConnectionError) in
            guard !target.isEmpty else { return 0 }
            return try moved(CTLS_read(ssl, wire, target.baseAddress, target.count))
        }
    }

    func waitReadable(milliseconds: Int32) -> Bool {
        let deadline = Clock.monotonic + UInt64(max(0, milliseconds)) * 1_000_000
        while true {
            let (arrived, writable) = lock.withLock { _ in
                let outcome = CTLS_peek(ssl, wire).outcome
                return (
                    outcome != CTLS_WANTS_READ && outcome != CTLS_WANTS_WRITE, outcome == CTLS_WANTS_WRITE
                )
            }
            // A failure too: the next read tells which.
            if arrived { return true }
            let now = Clock.monotonic
            guard now < deadline else { return false }
            let left = Int32(min(1000, (deadline - now + 999_999) / 1_000_000))
            _ = Poll.wait(socket.raw, readable: !writable, writable: writable, milliseconds: left)
        }
    }

    /// The bytes of a step that was taken, nil for one that has to wait.
    private func moved(_ result: CTLS_result) throws(ConnectionError) -> Int? {
        wantsWrite = result.outcome == CTLS_WANTS_WRITE
        switch result.outcome {
        case CTLS_MOVED: return result.count
        case CTLS_WANTS_READ, CTLS_WANTS_WRITE: return nil
        case CTLS_ENDED: throw .closed
        case CTLS_SYSTEM: throw .system(SystemError("speak to the peer", code: result.code))
        default: throw .refused(check.refusal ?? TLSRefusal.text(result.code))
        }
    }
}

/// What OpenSSL's reasons (sslerr.h) and a peer's alerts (RFC 8446, 6.2; 1000 is added to them) mean for remusd.
enum TLSRefusal {
    static func text(_ code: Int32) -> String {
        switch code {
        case 1048: "the peer does not know this host's key: 'remusd pair' on both, if it should"
        case 1045: "to the peer, this host's certificate or its pairing has expired: 'remusd pair' on both"
        case 1042: "the peer has paired this host, and not for this guest"
        case 1116, SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: "it shows no key of its own"
        case SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST,
            SSL_R_UNEXPECTED_MESSAGE,
            SSL_R_BAD_RECORD_TYPE, SSL_R_PACKET_LENGTH_TOO_LONG:
            "the peer does not speak TLS, or no longer: use --tls on both sides, or --insecure-plaintext on both"
        case SSL_R_UNSUPPORTED_PROTOCOL, 1070: "the peer does not speak TLS 1.3"
        default:
            "TLS with the peer failed: " + (CTLS_reason(code).map { String(cString: $0) } ?? "reason \(code)")
        }
    }
}
