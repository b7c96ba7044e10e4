/// Text on its way out: gathered in one buffer, handed on in large pieces.
///
/// When the other end is gone (`| head`), what follows is dropped; the reading itself goes on, so that the verdict on
/// the stream is still the right one.
package final class ListingOutput {
    private var buffer: [UInt8] = []
    private let write: (UnsafeRawBufferPointer) -> Bool
    private var isOpen = true
    private static let portion = 64 << 10

    /// An output that hands pieces to `write`, which says whether more is wanted.
    package init(write: @escaping (UnsafeRawBufferPointer) -> Bool) {
        self.write = write
        buffer.reserveCapacity(ListingOutput.portion + 4096)
    }

    /// Appends text as it is.
    package func put(_ text: String) {
        buffer.append(contentsOf: text.utf8)
        if buffer.count >= ListingOutput.portion { flush() }
    }

    /// Appends text, filled up with spaces to `width`.
    func put(_ text: String, width: Int, right: Bool = false) {
        let fill = String(repeating: " ", count: max(0, width - text.utf8.count))
        put(right ? fill + text : text + fill)
    }

    /// Hands on what is gathered.
    package func flush() {
        if isOpen, !buffer.isEmpty { isOpen = buffer.withUnsafeBytes { write($0) } }
        buffer.removeAll(keepingCapacity: true)
    }
}

/// Text from a file made safe to show: what could steer a terminal, or reorder what is read, is written as an escape.
package enum SafeText {
    /// The text with every control, format and separator character escaped.
    package static func terminal(_ text: some StringProtocol) -> String {
        var safe = ""
        for scalar in text.unicodeScalars {
            if isSafe(scalar) {
                safe.unicodeScalars.append(scalar)
            } else {
                safe += "\\u{" + String(scalar.value, radix: 16) + "}"
            }
        }
        return safe
    }

    /// The text as a JSON string, quotes included.
    package static func json(_ text: some StringProtocol) -> String {
        var safe = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": safe += "\\\""
            case "\\": safe += "\\\\"
            default:
                if isSafe(scalar) {
                    safe.unicodeScalars.append(scalar)
                } else {
                    for unit in String(scalar).utf16 {
                        let digits = String(unit, radix: 16)
                        safe += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                    }
                }
            }
        }
        return safe + "\""
    }

    private static func isSafe(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
            false
        default: true
        }
    }
}
