import Checkpoint
import NetBuffer

/// What can be said for processes that cannot speak for themselves: from their records, from the guest, and from the
/// guardian. Nothing is said that nobody knows.
struct DeadProcesses: Sendable {
    private let paths: Paths
    private let timeout: TimeSpan
    private let findDomain: @Sendable (_ uuid: String) -> UInt32?

    /// - Parameter findDomain: the number of the domain with a UUID on this host; nil if there is none, or no Xen.
    init(_ paths: Paths, _ timeout: TimeSpan, _ findDomain: @escaping @Sendable (_ uuid: String) -> UInt32?) {
        self.paths = paths
        self.timeout = timeout
        self.findDomain = findDomain
    }

    /// What a guest says of itself, or Xen of it.
    private enum GuestWord {
        case runs(EmbeddedGuestStatus)
        case isDomain(UInt32)
        case gone
        case silent
    }

    /// Asks the guest of that name, or Xen; another guest (another UUID) is not the one.
    private func askGuest(_ name: GuestName, uuid: String) -> GuestWord {
        if !uuid.isEmpty, let domain = findDomain(uuid) { return .isDomain(domain) }
        return askEmbedded(name, uuid: uuid)
    }

    private func askEmbedded(_ name: GuestName, uuid: String) -> GuestWord {
        do {
            let client = ControlClient(path: try paths.guestSocket(name))
            let status = try client.get("/v1/status", as: EmbeddedGuestStatus.self, timeout: timeout)
            return uuid.isEmpty || status.uuid == uuid ? .runs(status) : .gone
        } catch ControlClientError.notRunning, ControlClientError.brokeOff {
            return .gone
        } catch {
            return .silent
        }
    }

    // MARK: A primary

    private static let died = "remusd protect is not running: it died and left its socket behind"

    /// A `remusd protect` that died.
    func primary(_ name: GuestName) -> GuestStatus {
        var status = fromRecord(name, .dead, [Self.died])
        if let generation = activation(since: status, of: name) {
            status.isSucceededHere = true
            status.reasons = [
                Self.activated(at: generation, askGuest(name, uuid: status.uuid)),
                "the 'remusd protect' that died had an older copy of it, of which nothing is left to take over",
            ]
            return status
        }
        let again = "start 'remusd protect' for \(name) again, and it takes over"
        switch askGuest(name, uuid: status.uuid) {
        case .runs(let guest):
            status.heldBytes = guest.heldBytes
            status.address = guest.address
            status.reasons.append(
                guest.plug == "open"
                    ? "the guest runs UNPROTECTED, its output goes out: \(again)"
                    : "the guest runs, and what it answers stays held: \(again)"
            )
        case .isDomain(let domain):
            let devices = (try? PlugSurvey.list()) ?? []
            let isHeld = devices.contains { $0.domain == domain && $0.isRedirected }
            let output = isHeld ? "what it sends stays held" : "its output goes out"
            status.reasons.append("the guest is here, domain \(domain), UNPROTECTED, and \(output): \(again)")
        case .gone:
            let standby = status.peer.map { ", \($0)" } ?? ""
            status.reasons.append(
                "the guest does not run here either, and what it held is gone: see what its standby\(standby) has, "
                    + "'remusd activate \(name)' there"
            )
        case .silent: status.reasons.append("what it held stays held; \(again)")
        }
        return status
    }

    /// The generation at which the guest of a dead primary was activated here since. A `protect` of the activated guest
    /// has a higher one than the activation.
    private func activation(since primary: GuestStatus, of name: GuestName) -> UInt64? {
        guard let record = try? StandbyRecord.load(from: paths.standbyRecord(name)), record.state == .active,
            record.uuid == primary.uuid, record.generation >= primary.generation
        else { return nil }
        return record.generation
    }

    private static func activated(at generation: UInt64, _ guest: GuestWord) -> String {
        switch guest {
        case .runs(let guest):
            "the guest is active here, at generation \(generation), reached at \(guest.address)"
        case .isDomain(let domain): "the guest is active here, at generation \(generation), domain \(domain)"
        case .gone: "the guest was activated here, at generation \(generation), and does not run any more"
        case .silent: "the guest was activated here, at generation \(generation), and gives no answer"
        }
    }

    /// A `remusd protect` that gives no answer.
    func silentPrimary(_ name: GuestName, _ why: String) -> GuestStatus {
        fromRecord(name, .silent, ["remusd protect gives no answer: \(why)"])
    }

    /// What a primary's record still tells. Its guest's output is held or not: the record does not know.
    private func fromRecord(_ name: GuestName, _ state: GuestState, _ reasons: [String]) -> GuestStatus {
        var status = GuestStatus(
            guest: name.text,
            role: .primary,
            state: state,
            heldBytes: nil,
            reasons: reasons
        )
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

    // MARK: A standby

    /// A `remusd standby` that died: what became of the images only its guardian knows.
    func addStandby(to report: inout StatusReport) {
        let milliseconds = Int32(clamping: timeout.milliseconds)
        let guardian: GuardianInquiry
        do {
            guardian = GuardianInquiry.ask(try paths.guardianSocket(), milliseconds: milliseconds)
        } catch {
            guardian = .silent("\(error)")
        }
        let died = "remusd standby is not running: it died and left its socket behind"
        report.notes.append("\(died). \(Self.summary(guardian))")
        var names = Set(paths.guestsWithStandbyRecord())
        if case .holds(let keys) = guardian { names.formUnion(keys.compactMap { try? GuestName($0) }) }
        for name in names.sorted() {
            report.statuses.append(
                standbyStatus(name, .dead) {
                    "remusd standby is not running: \(image(of: name, $0, guardian))"
                }
            )
        }
    }

    /// A `remusd standby` that gives no answer.
    func addSilentStandby(_ why: String, to report: inout StatusReport) {
        let reason = "remusd standby gives no answer: \(why)"
        report.notes.append(reason)
        for name in paths.guestsWithStandbyRecord() {
            report.statuses.append(standbyStatus(name, .silent) { _ in reason })
        }
    }

    private static func summary(_ guardian: GuardianInquiry) -> String {
        switch guardian {
        case .holds(let guests) where guests.isEmpty:
            "Its guardian lives and holds no image: start 'remusd standby' again"
        case .holds(let guests):
            "Its guardian holds the images of \(guests.sorted().joined(separator: ", ")): start 'remusd standby' again, "
                + "and it adopts them"
        case .gone:
            "No guardian runs either, so no image is left: start 'remusd standby' again, and primaries synchronise anew"
        case .silent(let why): "Whether its guardian still holds images is not known: \(why)"
        }
    }

    /// What is left of one guest's image.
    private func image(of name: GuestName, _ record: StandbyRecord?, _ guardian: GuardianInquiry) -> String {
        if let record, record.state == .active {
            return "it died; " + Self.activated(at: record.generation, askGuest(name, uuid: record.uuid))
        }
        switch guardian {
        case .holds(let guests) where guests.contains(name.text):
            return
                "it died, and its guardian still holds the image; start 'remusd standby' again, and it adopts it"
        case .silent(let why):
            return "it died, and whether its guardian still holds the image is not known: \(why)"
        case .holds, .gone: break
        }
        let missing = guardian == .gone ? "no guardian runs here either" : "its guardian does not hold it"
        switch record?.state {
        case .image:
            return
                "it died, and the image is lost, \(missing); start 'remusd standby' again, and the primary "
                + "synchronises anew"
        case .crashed:
            return
                "it died, and the image is lost, \(missing); the guest crashed, so start it anew where it ran"
        case .dropped: return "it died; the image was given up before, as planned"
        case .active, nil: return "it died, and there is no image, \(missing)"
        }
    }

    /// What a standby's record still tells, behind the reason that `reason` gives for it.
    private func standbyStatus(
        _ name: GuestName,
        _ state: GuestState,
        _ reason: (StandbyRecord?) -> String
    ) -> GuestStatus {
        var status = GuestStatus(guest: name.text, role: .standby, state: state)
        do {
            let record = try StandbyRecord.load(from: paths.standbyRecord(name))
            status.reasons = [reason(record)]
            guard let record else { return status }
            status.uuid = record.uuid
            status.generation = record.generation
            status.address = record.address
            status.reasons.append("its record says '\(record.state.rawValue)', of \(record.updatedAt)")
        } catch {
            status.reasons = [reason(nil), "\(error)"]
        }
        return status
    }
}
