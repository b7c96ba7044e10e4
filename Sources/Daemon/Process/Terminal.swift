import Glibc

/// What is known of the terminal behind a descriptor.
package enum Terminal {
    /// Whether `descriptor` is a terminal.
    package static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Its width in columns, 80 where it does not say.
    package static func columns(_ descriptor: Int32) -> Int {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Whether to write colours: on a terminal that can, unless NO_COLOR is set and not empty (no-color.org).
    package static func usesColor(
        _ descriptor: Int32,
        environment: (String) -> String? = Paths.environment
    ) -> Bool {
        isTerminal(descriptor) && (environment("NO_COLOR") ?? "").isEmpty && environment("TERM") != "dumb"
    }
}

/// Colours for words that must be seen, or none.
package struct TextStyle: Sendable {
    /// Whether anything but plain text is written.
    package let color: Bool

    package init(color: Bool) { self.color = color }

    package static let plain = TextStyle(color: false)

    func good(_ text: String) -> String { painted(text, "32") }
    func bad(_ text: String) -> String { painted(text, "1;31") }
    func strong(_ text: String) -> String { painted(text, "1") }

    private func painted(_ text: String, _ code: String) -> String {
        color ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }
}
