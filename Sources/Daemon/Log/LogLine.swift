import Logging

/// How an event of the log is written: one line, whatever is in it.
package enum LogLine {
    /// `level component message key=value…`, keys sorted.
    package static func text(
        _ level: Logger.Level,
        component: String,
        message: String,
        metadata: Logger.Metadata
    ) -> String {
        var line = "\(level.rawValue) \(component) \(escaped(message))"
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line += " \(key)=\(quoted("\(value)"))"
        }
        return line
    }

    /// The priority of syslog(3), which journald reads from `<n>` at a line's start (sd-daemon(3)).
    package static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    /// Control characters made visible: what a guest or a peer says must not begin a line of its own.
    private static func escaped(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) else {
            return text
        }
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func quoted(_ text: String) -> String {
        let plain = !text.isEmpty && !text.contains { $0 == " " || $0 == "\"" || $0 == "=" }
        guard !plain else { return escaped(text) }
        var inner = ""
        for character in escaped(text) { inner += character == "\"" ? "\\\"" : String(character) }
        return "\"\(inner)\""
    }
}
