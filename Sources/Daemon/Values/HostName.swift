/// A host's name as `uname -n` shows it, checked: it becomes part of a path.
package struct HostName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The name itself.
    package let text: String

    /// Checks `text`: 1 to 64 of `A-Z a-z 0-9 _ . + -`, and not `.` or `..`.
    /// - Throws: `ValueError`, which says what a right one looks like.
    package init(_ text: String) throws(ValueError) {
        guard GuestName.isSafe(text) else {
            throw ValueError(
                kind: "host name",
                text: text,
                rightForm: "use what 'uname -n' shows there, 1 to 64 letters, digits and _ . + -"
            )
        }
        self.text = text
    }

    package static func < (a: HostName, b: HostName) -> Bool { a.text < b.text }
    package var description: String { text }
}
