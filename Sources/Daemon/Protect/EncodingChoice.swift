import Glibc

/// How pages go to the standby, as far as it takes them: `--encoding`, or the environment's REMUSD_ENCODING.
package enum EncodingChoice: String, Sendable, CaseIterable {
    /// As they are.
    case plain
    /// What differs from what was sent last, LZ4, zeros by name (docs/protocol.md, "Page encodings").
    case delta

    /// The variable that switches a whole host.
    package static let variable = "REMUSD_ENCODING"

    /// What the variable of this process asks for; nil if it is not set.
    package static func fromEnvironment() throws(ValueError) -> EncodingChoice? {
        try choice(getenv(variable).map { String(cString: $0) })
    }

    /// What a value of the variable asks for; nil if it is not set, or empty.
    /// - Throws: for a word that is none of the choices.
    package static func choice(_ text: String?) throws(ValueError) -> EncodingChoice? {
        guard let text, !text.isEmpty else { return nil }
        guard let choice = EncodingChoice(rawValue: text) else {
            throw ValueError(kind: variable, text: text, rightForm: "set plain or delta")
        }
        return choice
    }
}
