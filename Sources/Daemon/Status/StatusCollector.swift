import Checkpoint
import NIOCore

/// What the processes of this host say of their guests.
package struct StatusReport: Equatable, Sendable {
    /// By guest, the primary first.
    package var statuses: [GuestStatus]
    /// What could not be asked and belongs to no known guest, one sentence each.
    package var notes: [String]

    package init(statuses: [GuestStatus] = [], notes: [String] = []) {
        self.statuses = statuses
        self.notes = notes
    }

    /// A guest that was activated here may be protected from here: its standby's word alone would be a false alarm.
    mutating func joinRoles() {
        for index in statuses.indices where statuses[index].state == .active {
            let uuid = statuses[index].uuid
            guard statuses.contains(where: { $0.role == .primary && $0.uuid == uuid && $0.state != .dead })
            else {
                continue
            }
            statuses[index].reasons = ["the guest runs here; what protects it now is its line as a primary"]
            statuses[index].isPrimaryHere = true
        }
    }
}

/// Asks every process whose socket lies in the runtime directory, all at once, and says so where one is dead.
package struct StatusCollector: Sendable {
    private let paths: Paths
    private let timeout: TimeSpan

    /// - Parameter timeout: for each process, side by side.
    package init(paths: Paths, timeout: TimeSpan = .seconds(2)) {
        self.paths = paths
        self.timeout = timeout
    }

    /// Collects the status of one guest, or of all.
    package func collect(_ guest: GuestName? = nil) throws(PathError) -> StatusReport {
        let primaries = guest.map { [$0] } ?? paths.guestsWithPrimarySocket()
        var asked: [(guest: GuestName, answer: EventLoopFuture<ControlClient.Reply>)] = []
        for name in primaries { asked.append((name, ask(try paths.primarySocket(name)))) }
        let standby = ask(try paths.standbySocket())

        var report = StatusReport()
        for (name, answer) in asked { addPrimary(name, outcome(answer), to: &report) }
        addStandby(guest, outcome(standby), to: &report)
        report.joinRoles()
        if let guest { report.statuses.removeAll { $0.guest != guest.text } }
        report.statuses.sort { ($0.guest, $0.role.rawValue) < ($1.guest, $1.role.rawValue) }
        return report
    }

    private enum Outcome {
        case statuses([GuestStatus])
        case absent
        case dead
        /// It is there and gives no sense; why.
        case silent(String)
    }

    private func ask(_ socket: String) -> EventLoopFuture<ControlClient.Reply> {
        ControlClient(path: socket).start("GET", "/v1/status", body: nil, timeout: timeout)
    }

    private func outcome(_ answer: EventLoopFuture<ControlClient.Reply>) -> Outcome {
        do {
            return .statuses(try answer.wait().decode([GuestStatus].self))
        } catch ControlClientError.notRunning(_, let stale) {
            return stale ? .dead : .absent
        } catch ControlClientError.brokeOff {
            return .dead
        } catch {
            return .silent("\(error)")
        }
    }

    private func addPrimary(_ name: GuestName, _ outcome: Outcome, to report: inout StatusReport) {
        switch outcome {
        case .statuses(let statuses): report.statuses += statuses
        case .absent: break
        case .dead:
            report.statuses.append(
                fromRecord(
                    name,
                    .dead,
                    [
                        "remusd protect is not running: it died and left its socket behind",
                        "what it held stays held; start 'remusd protect' for \(name) again, and it takes over",
                    ]
                )
            )
        case .silent(let why):
            report.statuses.append(fromRecord(name, .silent, ["remusd protect gives no answer: \(why)"]))
        }
    }

    private func addStandby(_ guest: GuestName?, _ outcome: Outcome, to report: inout StatusReport) {
        let state: GuestState
        let reason: String
        switch outcome {
        case .statuses(let statuses):
            report.statuses += statuses
            return
        case .absent: return
        case .dead:
            state = .dead
            reason =
                "remusd standby is not running: it died and left its socket behind. Start 'remusd standby' again, and "
                + "it adopts the images its guardian still holds"
        case .silent(let why):
            state = .silent
            reason = "remusd standby gives no answer: \(why)"
        }
        report.notes.append(reason)
        for name in paths.guestsWithStandbyRecord() {
            var status = GuestStatus(guest: name.text, role: .standby, state: state, reasons: [reason])
            do {
                guard let record = try StandbyRecord.load(from: paths.standbyRecord(name)) else { continue }
                status.uuid = record.uuid
                status.generation = record.generation
                status.address = record.address
                status.reasons.append("its record says '\(record.state.rawValue)', of \(record.updatedAt)")
            } catch {
                status.reasons.append("\(error)")
            }
            report.statuses.append(status)
        }
    }

    /// What a dead primary's record still tells.
    private func fromRecord(_ name: GuestName, _ state: GuestState, _ reasons: [String]) -> GuestStatus {
        var status = GuestStatus(guest: name.text, role: .primary, state: state, reasons: reasons)
        do {
            guard let record = try PrimaryRecord.load(from: paths.primaryRecord(name)) else { return status }
            status.uuid = record.uuid
            status.generation = record.generation
            status.session = record.session
            status.peer = record.peer
        } catch {
            status.reasons.append("\(error)")
        }
        return status
    }
}
