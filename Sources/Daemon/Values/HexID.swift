/// Random 64-bit ids (sessions, activations) as they are written: 16 hexadecimal digits. In JSON they are strings,
/// because many readers of JSON round large numbers.
package enum HexID {
    /// `00000000deadbeef`
    package static func text(_ id: UInt64) -> String {
        let digits = String(id, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// The id of a text of 1 to 16 hexadecimal digits.
    package static func parse(_ text: String) -> UInt64? {
        guard (1...16).contains(text.utf8.count), text.utf8.first != UInt8(ascii: "+") else { return nil }
        return UInt64(text, radix: 16)
    }
}
