import Checkpoint
import Glibc
import SystemSupport

/// Directories, processes, records.
extension Doctor {
    func directories() -> [Examined] {
        [("REMUSD_RUNTIME_DIR", paths.runtime), ("REMUSD_STATE_DIR", paths.state)].map(directory)
    }

    private func directory(_ variable: String, _ path: String) -> Examined {
        let check = "directories"
        var info = stat()
        guard stat(path, &info) == 0 else {
            let code = errno
            if code == ENOENT { return Examined(check, .ok, "\(path) is made when it is needed") }
            return Examined(check, .fail, "\(path): \(String(cString: strerror(code))); set \(variable)")
        }
        guard info.st_mode & S_IFMT == S_IFDIR else {
            return Examined(check, .fail, "\(path) is no directory; set \(variable)")
        }
        guard info.st_uid == geteuid() else {
            return Examined(
                check,
                .fail,
                "\(path) belongs to user \(info.st_uid), remusd runs as \(geteuid())"
            )
        }
        let mode = info.st_mode & 0o777
        guard mode & 0o077 != 0 else { return Examined(check, .ok, "\(path) is its owner's alone") }
        let others = mode & 0o022 != 0 ? "write to" : "look into"
        return Examined(
            check,
            mode & 0o022 != 0 ? .fail : .warn,
            "others may \(others) \(path) (mode 0\(String(mode, radix: 8)))",
            fix: "makes it 0700"
        ) {
            guard chmod(path, 0o700) == 0 else { throw SystemError("change the mode of \(path)") }
        }
    }

    func processes(_ report: StatusReport?) -> [Examined] {
        let check = "processes"
        guard let report else {
            return [Examined(check, .fail, "\(paths.runtime) cannot be looked into")]
        }
        var found = report.notes.map { Examined(check, .warn, $0) }
        for status in report.statuses where status.state == .dead || status.state == .silent {
            guard status.isSucceededHere != true else { continue }
            let process = status.role == .primary ? "remusd protect" : "remusd standby"
            let word = status.state == .dead ? "died" : "does not answer"
            let why = status.reasons.last.map { ": \($0)" } ?? ""
            found.append(Examined(check, .fail, "\(process) of \(status.guest) \(word)\(why)"))
        }
        return found.isEmpty ? [Examined(check, .ok, "every process that left a socket answers")] : found
    }

    /// When each guest's other side was last heard of.
    func contact(_ report: StatusReport?) -> [Examined] {
        let check = "contact"
        let living = report?.statuses.filter { $0.state != .dead && $0.state != .silent } ?? []
        let found = living.map { status -> Examined in
            let age = status.lastAckAgeMs.map { "\(TimeSpan.milliseconds($0).rounded) ago" } ?? "never"
            let side = status.role == .primary ? "acknowledgement from its standby" : "word to its primary"
            let text =
                "\(status.guest) (\(status.role.rawValue), \(status.state.rawValue)): last \(side) \(age)"
            return switch status.state {
            case .starting, .connecting, .syncing, .ending, .activating, .unacknowledged:
                Examined(check, .warn, text)
            default: Examined(check, status.isAtRisk ? .fail : .ok, text)
            }
        }
        return found.isEmpty ? [Examined(check, .ok, "no guest is protected or kept here")] : found
    }

    func records() -> [Examined] {
        let check = "records"
        var found: [Examined] = []
        let primaries = paths.guestsWithPrimaryRecord()
        let standbys = paths.guestsWithStandbyRecord()
        func look(_ read: () throws(RecordError) -> Void) {
            do throws(RecordError) { try read() } catch { found.append(Examined(check, .fail, "\(error)")) }
        }
        for name in primaries {
            look { () throws(RecordError) in _ = try PrimaryRecord.load(from: paths.primaryRecord(name)) }
        }
        for name in standbys {
            look { () throws(RecordError) in _ = try StandbyRecord.load(from: paths.standbyRecord(name)) }
        }
        guard found.isEmpty else { return found }
        return [Examined(check, .ok, "\(primaries.count + standbys.count) records can be read")]
    }

    /// The guests that remusd has a record of, by UUID in lower case, with their names.
    func knownGuests() -> [String: String] {
        var known: [String: String] = [:]
        for name in paths.guestsWithPrimaryRecord() {
            guard let record = try? PrimaryRecord.load(from: paths.primaryRecord(name)) else { continue }
            known[record.uuid.lowercased()] = record.guest
        }
        for name in paths.guestsWithStandbyRecord() {
            guard let record = try? StandbyRecord.load(from: paths.standbyRecord(name)) else { continue }
            known[record.uuid.lowercased()] = record.guest
        }
        return known
    }
}
