import Checkpoint

/// One line that says how far something is.
package enum ProgressText {
    /// `syncing web1 [=====>    ] 43% 110MiB/256MiB 1.2GiB/s`, never longer than `columns`.
    /// - Parameters:
    ///   - total: 0 if not known: then there is no bar.
    ///   - rate: bytes a second, nil if not known yet.
    package static func line(label: String, done: UInt64, total: UInt64, rate: UInt64?, columns: Int)
        -> String
    {
        let speed = rate.map { " \(ByteSize(bytes: $0).rounded)/s" } ?? ""
        guard total > 0 else {
            return String("\(label) \(ByteSize(bytes: done).rounded)\(speed)".prefix(columns))
        }
        let share = min(1, Double(done) / Double(total))
        let figures =
            "\(Int(share * 100))% \(ByteSize(bytes: done).rounded)/\(ByteSize(bytes: total).rounded)\(speed)"
        let width = min(30, columns - label.count - figures.count - 4)
        guard width >= 5 else { return String("\(label) \(figures)".prefix(columns)) }
        let filled = Int(share * Double(width))
        let bar =
            filled >= width
            ? String(repeating: "=", count: width)
            : String(repeating: "=", count: filled) + ">" + String(repeating: " ", count: width - filled - 1)
        return "\(label) [\(bar)] \(figures)"
    }
}
