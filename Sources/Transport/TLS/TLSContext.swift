import CTLS
import Glibc
import SystemSupport

/// What this host thinks of a key that a peer shows.
package enum PeerVerdict: Equatable, Sendable {
    case known(host: String)
    /// No paired host has it.
    case unknown
    /// That host's pairing has ended.
    case expired(host: String)
    /// That host is known, and not for this.
    case notAllowed(host: String, reason: String)
}

/// What all TLS connections of a process share: its own key, whom it knows, which ciphers it prefers.
///
/// TLS 1.3 only, X25519, both sides with a certificate whose Ed25519 key the other has pinned; no tickets, no resumption,
/// no early data (RFC 8446).
///
/// Unchecked: OpenSSL locks a context by itself, and nothing here changes it after `init`.
package final class TLSContext: @unchecked Sendable {
    let context: OpaquePointer
    let wireMethod: OpaquePointer
    let verify: @Sendable (KeyPin) -> PeerVerdict
    /// Records after which a side changes its sending key. AES-GCM is good for 2^24.5 full ones (RFC 8446, 5.5).
    let recordsPerKey: UInt64

    /// - Parameters:
    ///   - prefersAES: AES-GCM before ChaCha20-Poly1305; by default, if this processor has instructions for it. A side
    ///     without them has its way.
    ///   - verify: asked for each key that a peer shows, on the connection's thread, before the peer has proved that it
    ///     holds it.
    package init(
        key: HostKey,
        prefersAES: Bool = CTLS_has_aes() != 0,
        recordsPerKey: UInt64 = 1 << 22,
        verify: @escaping @Sendable (KeyPin) -> PeerVerdict
    ) throws(TLSError) {
        guard let context = SSL_CTX_new(TLS_method()) else { throw TLSError("set up TLS") }
        guard let method = CTLS_wire_method() else {
            SSL_CTX_free(context)
            throw TLSError("set up TLS")
        }
        self.context = context
        wireMethod = method
        self.verify = verify
        self.recordsPerKey = recordsPerKey
        let aes = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
        let chacha = "TLS_CHACHA20_POLY1305_SHA256"
        let suites = prefersAES ? "\(aes):\(chacha)" : "\(chacha):\(aes)"
        guard CTLS_configure(context, suites) == 1,
            SSL_CTX_use_certificate(context, key.certificate) == 1,
            SSL_CTX_use_PrivateKey(context, key.key) == 1
        else { throw TLSError("set up TLS") }
        SSL_CTX_set_cert_verify_callback(context, { store, _ in PeerCheck.judge(store) }, nil)
    }

    deinit {
        SSL_CTX_free(context)
        BIO_meth_free(wireMethod)
    }
}

/// One handshake's look at the peer's certificate.
final class PeerCheck {
    private let verify: (KeyPin) -> PeerVerdict
    private(set) var host: String?
    /// Why the peer was refused, in words.
    private(set) var refusal: String?

    init(_ verify: @escaping (KeyPin) -> PeerVerdict) { self.verify = verify }

    /// OpenSSL's question whether a certificate is good (SSL_CTX_set_cert_verify_callback(3)): 1 or 0.
    static func judge(_ store: OpaquePointer?) -> Int32 {
        guard let store, let certificate = X509_STORE_CTX_get0_cert(store),
            let ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()),
            let own = SSL_get_ex_data(OpaquePointer(ssl), 0)
        else { return 0 }
        let check = Unmanaged<PeerCheck>.fromOpaque(own).takeUnretainedValue()
        guard let error = check.judge(certificate) else { return 1 }
        // It decides the alert that the peer gets (ssl/statem/statem_lib.c's table, by RFC 8446, 6.2).
        X509_STORE_CTX_set_error(store, error)
        return 0
    }

    /// The certificate's own dates count at their end only: a clock that is behind locks nobody out.
    private func judge(_ certificate: OpaquePointer) -> Int32? {
        guard let pin = try? KeyPin(of: certificate) else { return X509_V_ERR_OUT_OF_MEM }
        switch verify(pin) {
        case .known(let host):
            guard CTLS_end(certificate) >= Int64(Clock.wall / 1_000_000_000) else {
                refusal =
                    "the certificate of \(host) has expired: start remusd there again, or look at the clocks"
                return X509_V_ERR_CERT_HAS_EXPIRED
            }
            self.host = host
            return nil
        case .unknown:
            refusal = "its key \(pin.short) is none of a paired host: 'remusd pair' on both, if it should be"
            return X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
        case .expired(let host):
            refusal = "the pairing with \(host) has expired: 'remusd pair' on both, if it should go on"
            return X509_V_ERR_CERT_HAS_EXPIRED
        case .notAllowed(let host, let reason):
            refusal = "\(host) is paired, and not for this: \(reason)"
            return X509_V_ERR_CERT_REJECTED
        }
    }
}
