/// A written value that is not what it should be: says which, why, and what a right one looks like.
package struct ValueError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What it should have been: `size`, `duration`.
    package let kind: String
    /// What was written.
    package let text: String
    /// What a right one looks like, as advice.
    package let rightForm: String

    package init(kind: String, text: String, rightForm: String) {
        self.kind = kind
        self.text = text
        self.rightForm = rightForm
    }

    package var description: String { "'\(text)' is not a \(kind): \(rightForm)" }
}

/// Digits and nothing else: Swift's own `UInt64("+5")` takes a sign, which a size or a time must not have.
enum WholeNumber {
    static func parse(_ digits: Substring) -> UInt64? {
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return UInt64(digits)
    }
}
