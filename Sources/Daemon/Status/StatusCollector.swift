import Checkpoint
import NIOCore
import XenHost

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

    /// What one role says of a guest may be outdated by what the other says.
    mutating func joinRoles() {
        joinActive()
        joinDead()
    }

    /// A guest that was activated here may be protected from here: its standby's word alone would be a false alarm.
    private mutating func joinActive() {
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

    /// A primary that died, and whose guest was activated here since, is at no risk of its own if its standby is there
    /// to say how the guest fares.
    private mutating func joinDead() {
        for index in statuses.indices where statuses[index].isSucceededHere == true {
            let uuid = statuses[index].uuid
            if !statuses.contains(where: { $0.role == .standby && $0.uuid == uuid }) {
                statuses[index].isSucceededHere = nil
            }
        }
    }
}

/// Asks every process whose socket lies in the runtime directory, all at once, and says so where one is dead.
package struct StatusCollector: Sendable {
    private let paths: Paths
    private let timeout: TimeSpan
    private let dead: DeadProcesses

    /// - Parameters:
    ///   - timeout: for each process, side by side.
    ///   - findDomain: the number of the domain with a UUID on this host; nil if there is none, or no Xen.
    package init(
        paths: Paths,
        timeout: TimeSpan = .seconds(2),
        findDomain: @escaping @Sendable (_ uuid: String) -> UInt32? = { (try? GuestFinder.find($0))?.domain }
    ) {
        self.paths = paths
        self.timeout = timeout
        dead = DeadProcesses(paths, timeout, findDomain)
    }

    /// Collects the status of one guest, or of all.
    package func collect(_ guest: GuestName? = nil) throws(PathError) -> StatusReport {
        let primaries = guest.map { [$0] } ?? paths.guestsWithPrimarySocket()
        var asked: [(guest: GuestName, answer: EventLoopFuture<ControlClient.Reply>)] = []
        for name in primaries { asked.append((name, ask(try paths.primarySocket(name)))) }
        let standby = ask(try paths.standbySocket())

        var report = StatusReport()
        for (name, answer) in asked { addPrimary(name, outcome(answer), to: &report) }
        addStandby(outcome(standby), to: &report)
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
        case .dead: report.statuses.append(dead.primary(name))
        case .silent(let why):
            report.statuses.append(dead.silentPrimary(name, why))
        }
    }

    private func addStandby(_ outcome: Outcome, to report: inout StatusReport) {
        switch outcome {
        case .statuses(let statuses): report.statuses += statuses
        case .absent: break
        case .dead: dead.addStandby(to: &report)
        case .silent(let why): dead.addSilentStandby(why, to: &report)
        }
    }
}
