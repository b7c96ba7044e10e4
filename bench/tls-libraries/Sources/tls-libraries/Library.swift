/// The libraries that are compared.
enum Library: String, CaseIterable {
    case openSSL = "OpenSSL"
    case nioSSL = "swift-nio-ssl"

    var type: any TLSLibrary.Type {
        switch self {
        case .openSSL: OpenSSLEnd.self
        case .nioSSL: NIOSSLEnd.self
        }
    }

    /// What a process needs in its environment, as NAME=value, to take a cipher suite.
    ///
    /// swift-nio-ssl has no say in the suites of TLS 1.3: its BoringSSL prefers AES-GCM where the processor has
    /// instructions for it, else ChaCha20-Poly1305, which uses none of them. So it is told that there is neither AES-NI
    /// (bit 57) nor PCLMULQDQ (bit 33): CNIOBoringSSL/crypto/cpu_intel.cc, `OPENSSL_ia32cap`.
    func environment(for suite: CipherSuite) -> String? {
        self == .nioSSL && suite == .chacha20 ? "OPENSSL_ia32cap=~0x200000200000000" : nil
    }
}
