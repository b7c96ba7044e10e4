import CTLS

/// What a host is known by: the SHA-256 of its public key, as a SubjectPublicKeyInfo (RFC 5280, 4.1). A new certificate for
/// the same key changes nothing.
package struct KeyPin: Hashable, Sendable, CustomStringConvertible {
    /// Bytes of a pin.
    package static let size = 32
    package let bytes: [UInt8]

    init(of certificate: OpaquePointer) throws(TLSError) {
        var bytes = [UInt8](repeating: 0, count: Self.size)
        guard CTLS_pin(certificate, &bytes) == 1 else { throw TLSError("read a public key") }
        self.bytes = bytes
    }

    /// Reads what `description` writes; colons and the prefix may be missing.
    package init?(_ text: String) {
        var digits = text.lowercased()[...]
        if digits.hasPrefix("sha256:") { digits = digits.dropFirst(7) }
        let plain = digits.filter { $0 != ":" }
        guard let bytes = Hex.bytes(plain), bytes.count == Self.size else { return nil }
        self.bytes = bytes
    }

    /// `sha256:` and 64 hexadecimal digits.
    package var description: String { "sha256:" + Hex.text(bytes) }
    /// The beginning, to tell two apart in a log.
    package var short: String { "sha256:" + Hex.text(bytes.prefix(8)) + "…" }
}

/// Bytes as hexadecimal digits.
package enum Hex {
    package static func text(_ bytes: some Sequence<UInt8>) -> String {
        bytes.reduce(into: "") { text, byte in
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }

    /// The bytes of an even number of digits, and nothing else.
    package static func bytes(_ text: String) -> [UInt8]? {
        let digits = text.utf8.map { digit -> UInt8? in
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
            default: nil
            }
        }
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[index], let low = digits[index + 1] else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }
}

/// SHA-256 (FIPS 180-4).
package enum SHA256 {
    package static func digest(_ bytes: [UInt8]) throws(TLSError) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        guard EVP_Digest(bytes, bytes.count, &digest, nil, EVP_sha256(), nil) == 1 else {
            throw TLSError("compute a SHA-256")
        }
        return digest
    }
}

/// Something about keys or TLS that this host could not do.
package struct TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was attempted, in words that follow "cannot".
    package let operation: String
    /// What OpenSSL says, if anything.
    package let reason: String?

    /// An error for `operation`, with what OpenSSL noted last in this thread.
    init(_ operation: String) {
        self.operation = operation
        let code = ERR_peek_last_error()
        reason = code == 0 ? nil : ERR_reason_error_string(code).map { String(cString: $0) }
        ERR_clear_error()
    }

    package var description: String { "cannot \(operation)" + (reason.map { ": \($0)" } ?? "") }
}
