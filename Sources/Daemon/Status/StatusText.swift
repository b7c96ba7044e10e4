import Checkpoint

/// Statuses as people read them.
package enum StatusText {
    private static let header = [
        "NAME", "ROLE", "STATE", "PROTECTED", "GEN", "EPOCH", "ACK-AGE", "HELD", "REASON",
    ]

    /// One line a guest and role, columns aligned, and a last line that names every guest at risk.
    package static func table(_ statuses: [GuestStatus], style: TextStyle = .plain) -> String {
        var text = TextTable.text(header: header, rows: statuses.map(row)) { row, column, cell in
            guard row >= 0 else { return style.strong(cell) }
            guard column == 3 else { return cell }
            return statuses[row].protected ? style.good(cell) : style.bad(cell)
        }
        let atRisk = statuses.filter { $0.isAtRisk }
        if !atRisk.isEmpty {
            let names = atRisk.map { "\($0.guest) (\($0.role.rawValue) \($0.state.rawValue))" }
            text += style.bad("NOT PROTECTED: ") + names.joined(separator: ", ") + "\n"
        }
        return text
    }

    /// Everything known of one guest in one role.
    package static func paragraph(_ status: GuestStatus, style: TextStyle = .plain) -> String {
        let word = status.headline
        var text = "\(style.strong(status.guest)) is \(status.isAtRisk ? style.bad(word) : style.good(word))"
        text += " (\(status.role.rawValue), \(status.state.rawValue)"
        text += status.since.map { " since \($0))\n" } ?? ")\n"
        for reason in status.reasons { text += "  ! \(reason)\n" }
        for (name, value) in StatusDetails.lines(status) where !value.isEmpty {
            text += "  \(TextTable.padded(name, 11)) \(value)\n"
        }
        return text
    }

    private static func row(_ status: GuestStatus) -> [String] {
        let isPrimary = status.role == .primary
        return [
            status.guest, status.role.rawValue, status.state.rawValue, status.protected ? "yes" : "NO",
            "\(status.generation)",
            (isPrimary ? status.epoch.acked : status.epoch.committed).map { "\($0)" } ?? "-",
            status.lastAckAgeMs.map { TimeSpan.milliseconds($0).rounded } ?? "-",
            (isPrimary ? status.heldBytes : nil).map { ByteSize(bytes: $0).rounded } ?? "-",
            status.reasons.first ?? "",
        ]
    }
}

extension GuestStatus {
    /// Whether a failure now would lose something, of a guest that somebody wanted protected.
    package var isAtRisk: Bool {
        switch state {
        case .ended: !protected && role == .standby
        case .dropped, .empty: false
        case .active: isPrimaryHere != true
        case .dead where isSucceededHere == true: false
        default: !protected
        }
    }

    /// The word for people. UNPROTECTED where the guest runs without protection for good, NOT PROTECTED where
    /// protection is wanted and not there.
    package var headline: String {
        if protected { return "PROTECTED" }
        return switch state {
        case .active where isPrimaryHere == true: "active here"
        case .dead where isSucceededHere == true: "active here, as its standby's line says"
        case .alone, .active: "UNPROTECTED, it runs alone"
        case .ended where role == .standby: "NOT PROTECTED, and the guest activated here runs no more"
        case .ended: "no longer protected, as planned"
        case .dropped: "not held here any more, as planned"
        case .empty: "known here, without an image"
        case .splitBrain: "NOT PROTECTED, SPLIT BRAIN: two copies at one generation"
        case .outdated: "NOT PROTECTED, and this copy is OUTDATED"
        default: "NOT PROTECTED"
        }
    }
}
