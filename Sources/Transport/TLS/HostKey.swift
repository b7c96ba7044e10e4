import CTLS

/// A host's own key, Ed25519, and the certificate it signs for itself.
///
/// Unchecked: OpenSSL counts references to both by itself, and neither changes after `init`.
package final class HostKey: @unchecked Sendable {
    let key: OpaquePointer
    let certificate: OpaquePointer
    /// What other hosts know this one by.
    package let pin: KeyPin

    private init(key: OpaquePointer, certificate: OpaquePointer?) throws(TLSError) {
        guard let certificate else {
            EVP_PKEY_free(key)
            throw TLSError("make a certificate")
        }
        self.key = key
        self.certificate = certificate
        do throws(TLSError) {
            pin = try KeyPin(of: certificate)
        } catch {
            EVP_PKEY_free(key)
            X509_free(certificate)
            throw error
        }
    }

    /// A new key for `host`, with a certificate for a span of time in seconds since 1970.
    package convenience init(newFor host: String, validIn span: ClosedRange<Int64>) throws(TLSError) {
        guard let key = CTLS_new_key() else { throw TLSError("make a key") }
        try self.init(
            key: key,
            certificate: CTLS_new_certificate(key, host, span.lowerBound, span.upperBound)
        )
    }

    /// The same key with a new certificate.
    package convenience init(_ old: HostKey, host: String, validIn span: ClosedRange<Int64>) throws(TLSError)
    {
        EVP_PKEY_up_ref(old.key)
        try self.init(
            key: old.key,
            certificate: CTLS_new_certificate(old.key, host, span.lowerBound, span.upperBound)
        )
    }

    /// A key and its certificate from PEM (RFC 7468), as `pem` writes it.
    package convenience init(pem: [UInt8]) throws(TLSError) {
        let (key, certificate) = try pem.withUnsafeBufferPointer { bytes throws(TLSError) in
            try Self.read(UnsafeRawBufferPointer(bytes))
        }
        try self.init(key: key, certificate: certificate)
    }

    /// OpenSSL reads where the bytes lie, until the BIO is freed (BIO_new_mem_buf(3)).
    private static func read(
        _ pem: UnsafeRawBufferPointer
    ) throws(TLSError) -> (key: OpaquePointer, certificate: OpaquePointer) {
        let wrong = "read a key and its certificate"
        guard let bio = BIO_new_mem_buf(pem.baseAddress, Int32(pem.count)) else { throw TLSError(wrong) }
        defer { BIO_free(bio) }
        guard let key = PEM_read_bio_PrivateKey(bio, nil, nil, nil) else { throw TLSError(wrong) }
        guard let certificate = PEM_read_bio_X509(bio, nil, nil, nil) else {
            EVP_PKEY_free(key)
            throw TLSError(wrong)
        }
        guard X509_check_private_key(certificate, key) == 1 else {
            EVP_PKEY_free(key)
            X509_free(certificate)
            throw TLSError("use a certificate of another key")
        }
        return (key, certificate)
    }

    deinit {
        EVP_PKEY_free(key)
        X509_free(certificate)
    }

    /// Key and certificate as PEM: secret.
    package var pem: [UInt8] {
        get throws(TLSError) {
            guard let bio = BIO_new(BIO_s_secmem()) else { throw TLSError("write a key") }
            defer { BIO_free(bio) }
            guard PEM_write_bio_PrivateKey(bio, key, nil, nil, 0, nil, nil) == 1,
                PEM_write_bio_X509(bio, certificate) == 1
            else { throw TLSError("write a key") }
            var bytes: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = BIO_read(bio, &chunk, Int32(chunk.count))
                guard count > 0 else { return bytes }
                bytes += chunk[..<Int(count)]
            }
        }
    }

    /// When its certificate ends, in seconds since 1970.
    package var expires: Int64 { CTLS_end(certificate) }
}
