import Checkpoint

/// `--interval`
package enum IntervalChoice: Equatable, Sendable, CustomStringConvertible {
    /// Always the same.
    case fixed(TimeSpan)
    /// As it must be for output to wait about so long.
    case adaptive(TimeSpan)

    /// Reads `50ms`, `adaptive` or `adaptive:50ms`.
    /// - Throws: `ValueError`, which says what a right one looks like; also for a target that is none of `IntervalPolicy.targets`.
    package init(parsing text: String) throws(ValueError) {
        guard text.hasPrefix("adaptive") else {
            self = .fixed(try TimeSpan(parsing: text))
            return
        }
        let rest = text.dropFirst("adaptive".count)
        if rest.isEmpty {
            self = .adaptive(IntervalPolicy.usualTarget)
            return
        }
        let targets = IntervalPolicy.targets
        let refusal = ValueError(
            kind: "interval",
            text: text,
            rightForm: "write it like 50ms, adaptive or adaptive:50ms, which is \(targets.lowerBound) to "
                + "\(targets.upperBound)"
        )
        guard rest.hasPrefix(":"), let target = try? TimeSpan(parsing: String(rest.dropFirst())),
            targets.contains(target)
        else { throw refusal }
        self = .adaptive(target)
    }

    /// What settings say.
    package init(_ settings: ProtectSettings) {
        self = settings.latencyTarget.map { .adaptive($0) } ?? .fixed(settings.interval)
    }

    /// Has settings say it.
    package func apply(to settings: inout ProtectSettings) {
        switch self {
        case .fixed(let interval): (settings.interval, settings.latencyTarget) = (interval, nil)
        case .adaptive(let target): settings.latencyTarget = target
        }
    }

    package var description: String {
        switch self {
        case .fixed(let interval): "\(interval)"
        case .adaptive(let target): "adaptive:\(target)"
        }
    }
}
