import COpenSSL

/// A key like a host's of remusd, Ed25519, and a certificate that it signs for itself: the same for both libraries.
struct Identity {
    /// In DER, as PKCS #8.
    let key: [UInt8]
    /// In DER.
    let certificate: [UInt8]

    /// New ones, good for a day.
    init() throws {
        let room = 1024
        var key = [UInt8](repeating: 0, count: room)
        var certificate = key
        var keySize = 0
        var certificateSize = 0
        guard COpenSSL_new_identity(&key, &keySize, &certificate, &certificateSize, room) == 1 else {
            throw Failure("OpenSSL makes no key and certificate")
        }
        self.key = Array(key[..<keySize])
        self.certificate = Array(certificate[..<certificateSize])
    }
}
