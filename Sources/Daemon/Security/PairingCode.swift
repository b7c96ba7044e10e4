import Transport

/// What one side brings to a pairing.
struct PairingPart: Equatable, Sendable {
    /// Bytes of a nonce.
    static let nonceSize = 32

    /// Of the key that it has proved to hold.
    let pin: KeyPin
    let host: HostName
    /// Random, new with each pairing.
    let nonce: [UInt8]

    /// What the connecting side says first. It binds that side to its part without showing it.
    func commitment() throws(TLSError) -> [UInt8] {
        try SHA256.digest(Array("remusd pair/1 commitment\0".utf8) + bytes)
    }

    /// Each field behind its length, so that no two parts have the same bytes.
    private var bytes: [UInt8] {
        let name = Array(host.text.utf8)
        return pin.bytes + nonce + [UInt8(name.count)] + name
    }

    /// The code that two people compare: eight digits that depend on both parts, the connecting side's first.
    ///
    /// Somebody in the middle makes two pairings with a key of his own. With the listening side he has to commit himself
    /// before he sees its nonce, with the connecting side he has to show his before he sees that side's: in both he
    /// cannot choose what the code will be, and both people see the same one by a chance of 1 in 100,000,000.
    static func code(connecting: PairingPart, listening: PairingPart) throws(TLSError) -> String {
        let digest = try SHA256.digest(
            Array("remusd pair/1 code\0".utf8) + connecting.bytes + listening.bytes
        )
        // 64 bits: what the remainder favours some codes by is nothing.
        let number = digest[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) } % 100_000_000
        let digits = String(repeating: "0", count: 8 - String(number).count) + String(number)
        return "\(digits.prefix(4)) \(digits.suffix(4))"
    }
}
