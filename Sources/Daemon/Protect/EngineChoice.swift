import Glibc

/// Who reads a Xen guest's memory and state: `--engine`, or the environment's REMUSD_ENGINE.
package enum EngineChoice: String, Sendable, CaseIterable {
    /// remusd itself.
    case native
    /// Xen's own sender, `xc_domain_save` of libxenguest.
    case libxenguest

    /// The variable that switches a whole host.
    package static let variable = "REMUSD_ENGINE"

    /// What the variable of this process asks for; nil if it is not set.
    package static func fromEnvironment() throws(ValueError) -> EngineChoice? {
        try choice(getenv(variable).map { String(cString: $0) })
    }

    /// What a value of the variable asks for; nil if it is not set, or empty.
    /// - Throws: for a word that is none of the choices.
    package static func choice(_ text: String?) throws(ValueError) -> EngineChoice? {
        guard let text, !text.isEmpty else { return nil }
        guard let choice = EngineChoice(rawValue: text) else {
            throw ValueError(kind: variable, text: text, rightForm: "set native or libxenguest")
        }
        return choice
    }
}
