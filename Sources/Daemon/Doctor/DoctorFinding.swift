/// What `remusd doctor` found, as it is shown: one line, or one object.
package struct DoctorFinding: Codable, Equatable, Sendable {
    package enum Level: String, Codable, CaseIterable, Sendable {
        case ok
        /// It works, and something should be known.
        case warn
        /// Something does not work, or is left behind.
        case fail
    }

    /// The check's name: `plugs`.
    package var check: String
    package var level: Level
    /// One sentence.
    package var message: String
    /// What `--fix` does about it, in words that follow "--fix"; null if a person has to.
    package var fix: String?
    /// It was mended by this run.
    package var fixed: Bool

    package init(
        _ check: String,
        _ level: Level,
        _ message: String,
        fix: String? = nil,
        fixed: Bool = false
    ) {
        self.check = check
        self.level = level
        self.message = message
        self.fix = fix
        self.fixed = fixed
    }

    package enum CodingKeys: String, CodingKey {
        case check, level, message, fix, fixed
    }

    /// `fix` is always there, as null where a person has to.
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(check, forKey: .check)
        try values.encode(level, forKey: .level)
        try values.encode(message, forKey: .message)
        try values.encode(fix, forKey: .fix)
        try values.encode(fixed, forKey: .fixed)
    }
}

/// All of it.
package struct DoctorReport: Codable, Equatable, Sendable {
    /// `remusd.doctor/1`
    package var schema = "remusd.doctor/1"
    /// No finding is a failure.
    package var healthy: Bool
    package var findings: [DoctorFinding]

    package init(_ findings: [DoctorFinding]) {
        self.findings = findings
        healthy = !findings.contains { $0.level == .fail }
    }

    /// One line a finding, and a last one that counts them.
    package func text(style: TextStyle = .plain) -> String {
        var text = ""
        for finding in findings {
            let word = TextTable.padded(finding.level.rawValue, 4)
            let painted = finding.level == .ok ? style.good(word) : style.bad(word)
            text += "\(painted)  \(TextTable.padded(finding.check, 11))  \(finding.message)"
            if finding.fixed {
                text += " (mended)"
            } else if let fix = finding.fix {
                text += " (--fix \(fix))"
            }
            text += "\n"
        }
        let count = { (level: DoctorFinding.Level) in findings.count { $0.level == level } }
        return text + "\(count(.ok)) ok, \(count(.warn)) to know, \(count(.fail)) wrong\n"
    }
}
