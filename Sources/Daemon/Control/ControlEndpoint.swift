/// Which process answers at a socket, told from the socket's name: for messages that say what to start.
package enum ControlEndpoint: Equatable, Sendable, CustomStringConvertible {
    /// `remusd protect` of a guest.
    case primary(String)
    /// `remusd standby`.
    case standby
    /// An embedded guest (`remusd guest run`).
    case guest(String)
    /// Anything else.
    case other

    /// The endpoint of the socket at `path`.
    package init(path: String) {
        let file = path.split(separator: "/").last.map(String.init) ?? path
        func name(after prefix: String) -> String? {
            guard file.hasPrefix(prefix), file.hasSuffix(".sock") else { return nil }
            return String(file.dropFirst(prefix.count).dropLast(5))
        }
        if file == "standby.sock" {
            self = .standby
        } else if let name = name(after: "primary-") {
            self = .primary(name)
        } else if let name = name(after: "guest-") {
            self = .guest(name)
        } else {
            self = .other
        }
    }

    /// The process in words: `remusd protect of web1`.
    package var description: String {
        switch self {
        case .primary(let name): "remusd protect of \(name)"
        case .standby: "remusd standby"
        case .guest(let name): "guest \(name)"
        case .other: "process"
        }
    }
}
