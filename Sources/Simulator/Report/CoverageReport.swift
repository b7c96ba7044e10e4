extension Coverage {
    /// What a full run has to reach. Every other cell is either impossible or so rare that no number of schedules makes
    /// sure of it; where such a one occurs it is counted, and nothing is wrong.
    static let reachablePrimary: [PrimaryPlace: String] = [
        .connecting: """
        start connected linkLost welcome refused beat suspended notSuspended resumed notResumed \
        stored trackingLost guestEnded unprotect continued tick
        """,
        .syncing: """
        linkLost welcome refused beat echo syncSent trackingLost guestEnded unprotect tick
        """,
        .running: """
        linkLost refused ack beat echo stored trackingLost guestEnded unprotect granted unanswered \
        dirtied tick
        """,
        .suspending: """
        linkLost welcome refused ack beat echo suspended notSuspended sweepWanted trackingLost guestEnded \
        unprotect tick
        """,
        .harvesting: "harvested notHarvested",
        .cutting: "cut failed",
        .resuming: """
        linkLost refused beat echo resumed notResumed trackingLost guestEnded unprotect tick
        """,
        .inFlight: """
        advanced linkLost welcome refused ack beat echo trackingLost guestEnded unprotect granted \
        unanswered dirtied tick
        """,
        .noLinkRunning: """
        connected linkLost welcome refused beat trackingLost guestEnded unprotect continued tick
        """,
        .noLinkPausing: """
        suspended notSuspended harvested notHarvested cut resumed notResumed trackingLost guestEnded \
        tick
        """,
        .noLinkInFlight: """
        connected linkLost welcome refused beat trackingLost guestEnded unprotect continued tick
        """,
        .ending: """
        connected linkLost welcome refused ack beat echo endAnswer syncSent suspended harvested cut \
        resumed notResumed trackingLost guestEnded unprotect tick
        """,
        .imageRefused: "advanced connected linkLost welcome refused beat echo endAnswer resumed tick",
        .asking: """
        connected linkLost welcome refused stored trackingLost guestEnded unprotect wishStored granted \
        denied unanswered continued tick
        """,
        .storingAlone: "connected linkLost welcome refused stored trackingLost guestEnded tick",
        .alone: """
        connected linkLost welcome refused stored trackingLost guestEnded unprotect wishStored granted \
        unanswered tick
        """,
        .outdated: "tick",
        .splitBrain: "tick",
    ]
    static let reachableStandby: [StandbyPlace: String] = [
        .nothing: "starts helloNew connectionLost",
        .dropped: """
        starts helloNew helloAgain helloRefused connectionLost notListening imageLost tick \
        activateAllowed activateRefused
        """,
        .image: """
        starts helloNew helloAgain connectionLost notListening imageLost tick activateAllowed \
        activateRefused activateAsks activateByItself activateForced granted denied unanswered \
        activationFailed
        """,
        .crashed: "starts helloNew helloAgain tick activateAllowed activateAsks granted",
        .granted: """
        starts helloNew helloRefused connectionLost imageLost activateAllowed activateByItself \
        activationFailed
        """,
        .runs: "helloRefused connectionLost tick",
        .syncing: """
        helloRefused beat echo plannedEnd strange epochWhole violation failure connectionLost data \
        tick
        """,
        .syncingBeside: """
        beat echo plannedEnd epochWhole violation failure connectionLost data imageLost tick \
        activateRefused
        """,
        .replicating: """
        helloRefused beat echo plannedEnd strange epochWhole violation failure connectionLost data \
        notListening imageLost tick activateRefused
        """,
        .ending: "beat echo connectionLost data notListening tick",
    ]

    /// Reachable cells, faults and writes that never occurred.
    package var gaps: [String] {
        var gaps: [String] = []
        for (place, columns) in Self.reachablePrimary {
            for column in columns.split(separator: " ") {
                let index = primary.columns.firstIndex(of: String(column))
                if index.map({ primary[place.index, $0] == 0 }) ?? true {
                    gaps.append("primary \(place) × \(column)")
                }
            }
        }
        for (place, columns) in Self.reachableStandby {
            for column in columns.split(separator: " ") {
                let index = standby.columns.firstIndex(of: String(column))
                if index.map({ standby[place.index, $0] == 0 }) ?? true {
                    gaps.append("standby \(place) × \(column)")
                }
            }
        }
        for what in WriteClass.allCases {
            for outcome in WriteOutcome.allCases where writes[what.index, outcome.index] == 0 {
                gaps.append("record \(what) × \(outcome)")
            }
        }
        for fault in Fault.allCases where faults[fault.index] == 0 { gaps.append("fault \(fault)") }
        return gaps.sorted()
    }

    /// The tables, for people.
    package var text: String {
        var lines: [String] = []
        func show(_ title: String, _ table: Table) {
            lines.append("\(title)")
            for row in table.rows.indices {
                let cells = table.columns.indices.filter { table[row, $0] > 0 }.map {
                    "\(table.columns[$0]) \(table[row, $0])"
                }
                lines.append("  \(table.rows[row]): " + (cells.isEmpty ? "-" : cells.joined(separator: ", ")))
            }
        }
        show("The primary's machine, by place: what it was told, how often", primary)
        show("The standby's machine", standby)
        show("Records, by what is written: how that ended", writes)
        lines.append("Faults")
        lines.append("  " + Fault.allCases.map { "\($0) \(faults[$0.index])" }.joined(separator: ", "))
        return lines.joined(separator: "\n")
    }
}
