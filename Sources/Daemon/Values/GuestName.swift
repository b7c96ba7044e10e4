/// A guest's name, checked: what xl allows, and what is safe as part of a path.
package struct GuestName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The name itself.
    package let text: String

    /// Checks `text`: 1 to 64 of `A-Z a-z 0-9 _ . + -`, and not `.` or `..`.
    /// - Throws: `ValueError`, which says what a right one looks like.
    package init(_ text: String) throws(ValueError) {
        guard Self.isSafe(text) else {
            throw ValueError(
                kind: "guest name",
                text: text,
                rightForm: "use 1 to 64 letters, digits and _ . + - (not . or .. alone)"
            )
        }
        self.text = text
    }

    /// Whether `text` may be a name, and a part of a path.
    static func isSafe(_ text: String) -> Bool {
        let allowed = text.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "+"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return allowed && (1...64).contains(text.utf8.count) && text != "." && text != ".."
    }

    package static func < (a: GuestName, b: GuestName) -> Bool { a.text < b.text }
    package var description: String { text }
}
