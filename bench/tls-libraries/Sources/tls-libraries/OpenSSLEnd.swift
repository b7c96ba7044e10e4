import COpenSSL

/// OpenSSL 3, as remusd uses it: SSL_write and SSL_read from and to memory of ours, here over a socket that blocks.
final class OpenSSLEnd: TLSLibrary {
    let suite: CipherSuite
    private let ssl: OpaquePointer
    private let terms: Terms
    private let memory: UnsafeMutableRawBufferPointer

    init(socket: Int32, end: End, terms: Terms) throws {
        guard let context = SSL_CTX_new(TLS_method()) else { throw Self.failure("set up TLS") }
        defer { SSL_CTX_free(context) }
        guard COpenSSL_configure(context, terms.suite.name) == 1 else { throw Self.failure("set up TLS") }
        if end == .receiving { try Self.show(Identity(), in: context) }
        guard let ssl = SSL_new(context), SSL_set_fd(ssl, socket) == 1 else {
            throw Self.failure("set up a connection")
        }
        guard (end == .receiving ? SSL_accept(ssl) : SSL_connect(ssl)) == 1,
            let suite = CipherSuite(rawValue: SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)))
        else { throw Self.failure("shake hands") }
        self.suite = suite
        self.ssl = ssl
        self.terms = terms
        memory = .allocate(byteCount: max(1 << 20, terms.writeSize), alignment: 4096)
        memory.initializeMemory(as: UInt8.self, repeating: 7)
    }

    deinit {
        SSL_free(ssl)
        memory.deallocate()
    }

    private static func show(_ identity: Identity, in context: OpaquePointer) throws {
        let (key, certificate) = (identity.key, identity.certificate)
        guard SSL_CTX_use_certificate_ASN1(context, Int32(certificate.count), certificate) == 1,
            SSL_CTX_use_PrivateKey_ASN1(COpenSSL_ED25519, context, key, key.count) == 1
        else { throw failure("use a key and its certificate") }
    }

    func move(units: Int) throws {
        var left = units * Terms.unit
        var count = 0
        while left > 0 {
            guard SSL_write_ex(ssl, memory.baseAddress, min(left, terms.writeSize), &count) == 1 else {
                throw Self.failure("send")
            }
            left -= count
        }
        var unanswered = units
        while unanswered > 0 {
            guard SSL_read_ex(ssl, memory.baseAddress, unanswered, &count) == 1 else {
                throw Self.failure("hear the answer")
            }
            unanswered -= count
        }
    }

    func answer() throws {
        var left = Terms.unit
        var count = 0
        while SSL_read_ex(ssl, memory.baseAddress, memory.count, &count) == 1 {
            left -= count
            while left <= 0 {
                guard SSL_write_ex(ssl, memory.baseAddress, 1, &count) == 1 else {
                    throw Self.failure("answer")
                }
                left += Terms.unit
            }
        }
    }

    private static func failure(_ what: String) -> Failure {
        let reason = ERR_reason_error_string(ERR_peek_error()).map { String(cString: $0) }
        return Failure("OpenSSL cannot \(what): \(reason ?? "the connection failed")")
    }
}
