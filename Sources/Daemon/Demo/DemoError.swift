/// Why a demo did not get to its end.
package enum DemoError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Ctrl-C.
    case interrupted
    /// Something that was to happen did not, or the other way round.
    case unexpected(String)

    package var description: String {
        switch self {
        case .interrupted: "interrupted"
        case .unexpected(let text): text
        }
    }
}
