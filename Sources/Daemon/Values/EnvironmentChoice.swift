import Glibc

/// One of a few words that an option chooses, or a variable of the environment where the option is not given: so a whole host can
/// be switched.
package protocol EnvironmentChoice: CaseIterable, RawRepresentable, Sendable where RawValue == String {
    /// The variable's name.
    static var variable: String { get }
}

extension EnvironmentChoice {
    /// What the variable of this process asks for; nil if it is not set.
    package static func fromEnvironment() throws(ValueError) -> Self? {
        try choice(getenv(variable).map { String(cString: $0) })
    }

    /// What a value of the variable asks for; nil if it is not set, or empty.
    /// - Throws: for a word that is none of the choices.
    package static func choice(_ text: String?) throws(ValueError) -> Self? {
        guard let text, !text.isEmpty else { return nil }
        guard let choice = Self(rawValue: text) else {
            let words = allCases.map(\.rawValue).joined(separator: " or ")
            throw ValueError(kind: variable, text: text, rightForm: "set \(words)")
        }
        return choice
    }
}
