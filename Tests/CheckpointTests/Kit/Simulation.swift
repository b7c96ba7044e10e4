import Checkpoint
import XenStream

/// Both machines, a network between them and what happens to machines and networks, under a seeded scheduler.
///
/// After every step it asks: if the primary's host went dark now and somebody vouched for that, would the standby
/// start a copy that knows less than the world has seen?
final class Simulation {
    private struct Packet {
        var arrives: Instant
        var connection: Int
        var item: Outgoing
    }

    private enum Wire { case up, cut, toStandbyCut, toPrimaryCut }

    private var random: SplitMix
    /// How rarely things go wrong.
    private let calm: Int
    private(set) var primary: PrimaryUnderTest
    /// Protect is told of one of them; the others keep what they have.
    private let standbys = [StandbyUnderTest(), StandbyUnderTest()]
    private var standby: StandbyUnderTest { standbys[primary.standby] }
    private var now: Instant { primary.now }
    private static let step = TimeSpan.milliseconds(10)

    private var wire = Wire.up
    private var wireUntil = Instant(nanoseconds: 0)
    private var toStandby: [Packet] = []
    private var toPrimary: [Packet] = []
    /// The primary's connection as the network knows it: numbers never come again, over all primaries.
    private var connection: (number: Int, attempt: Int, opensAt: Instant, isOpen: Bool)?
    private var connections = 0
    private var standbyDownUntil: Instant?
    private var standbyConnections: Set<Int> = []
    private var protectDownUntil: Instant?
    private var guestHasCrashed = false
    private var sessions: UInt64 = 100
    private var memory = Sample.room

    /// Promises broken, with the time.
    private(set) var broken: [String] = []
    /// What happened, for a seed that fails.
    private(set) var story: [String] = []
    /// How often things happened: a simulation in which nothing does proves nothing.
    private(set) var commits = 0, restarts = 0

    init(seed: UInt64) {
        random = SplitMix(state: seed)
        calm = [1, 3, 12].randomElement(using: &random) ?? 1
        var settings = ProtectSettings()
        settings.aloneAfter = .seconds(UInt64.random(in: 2...6, using: &random))
        primary = PrimaryUnderTest(settings, collects: true)
    }

    /// Lets `steps` hundredths of a second pass.
    func run(steps: Int) {
        for _ in 0..<steps where broken.isEmpty {
            misfortune()
            turnPrimary()
            carry()
            turnStandby()
            check()
        }
    }

    private func chance(_ oneIn: Int) -> Bool { Int.random(in: 0..<oneIn, using: &random) == 0 }
    /// Whether something goes wrong that does `oneIn` steps in the worst of worlds.
    private func mishap(_ oneIn: Int) -> Bool { chance(oneIn * calm) }
    private func span(_ range: ClosedRange<UInt64>) -> TimeSpan {
        .milliseconds(UInt64.random(in: range, using: &random))
    }
    private func note(_ text: String) { story.append("\(now) \(text)") }

    // MARK: What goes wrong

    private func misfortune() {
        if wire != .up, now >= wireUntil {
            wire = .up
            note("the wire is whole")
        }
        if wire == .up, mishap(300) {
            wire = [.cut, .toStandbyCut, .toPrimaryCut].randomElement(using: &random) ?? .cut
            wireUntil = now + span(20...6000)
            note("the wire: \(wire) until \(wireUntil)")
        }
        if standbyDownUntil == nil, mishap(500) { killStandby() }
        if protectDownUntil == nil, mishap(500) { killProtect() }
        if protectDownUntil == nil, primary.result == nil, mishap(900) {
            note("unprotect")
            primary.dispatch(.unprotectRequested)
        }
        if chance(100) {
            primary.harvest = mishap(2) ? (chance(3) ? .trackingLost("void") : .late) : .whole(pages: 3)
        }
        if protectDownUntil == nil, primary.result == nil, mishap(1500) {
            primary.dispatch(.trackingLost("void"))
        }
        if chance(100) { primary.suspendAnswer = mishap(3) ? .refused : .suspended }
        if chance(100) { primary.storeFails = mishap(2) }
        if chance(100) { primary.cutFails = mishap(3) }
        if chance(100) { primary.resumeFails = mishap(3) }
        if chance(100) { standby.storeFails = mishap(2) }
        if chance(100) { standby.guardianFails = mishap(2) }
        if chance(100) { memory = mishap(4) ? Sample.noRoom : Sample.room }
        if !guestHasCrashed, protectDownUntil == nil, primary.result == nil, mishap(2500) {
            note("the guest crashes")
            guestHasCrashed = true
            primary.dispatch(.guestEnded(.crashed))
        }
    }

    private func killStandby() {
        let guardian = chance(4)
        note("the standby's daemon dies\(guardian ? ", its guardian too" : "")")
        standby.restart(guardian: guardian)
        standbyConnections = []
        toPrimary = []
        standbyDownUntil = now + span(10...3000)
        guard let open = connection, wire == .up || wire == .toStandbyCut else { return }
        connection = nil
        if open.attempt == primary.connection { primary.loseConnection() }
    }

    private func killProtect() {
        note("protect dies")
        restarts += 1
        protectDownUntil = now + span(10...5000)
        if let open = connection, wire == .up { closeAtStandby(open.number) }
        connection = nil
    }

    private func closeAtStandby(_ number: Int) {
        guard standbyConnections.remove(number) != nil else { return }
        standby.handle(.connectionLost(ConnectionID(number)), at: now)
    }

    // MARK: The primary

    private func turnPrimary() {
        if let until = protectDownUntil {
            primary.passWithoutProtect(Self.step, guestRuns: !guestHasCrashed)
            guard now >= until, !guestHasCrashed else { return }
            protectDownUntil = nil
            startProtect()
            return
        }
        primary.advance(Self.step)
        if primary.result != nil, !guestHasCrashed, chance(200) { startProtect() }
    }

    private func startProtect() {
        sessions += 100
        // Mostly begun as before; now and then with other options.
        let aloneAfter = chance(2) ? TimeSpan.seconds(UInt64.random(in: 2...6, using: &random)) : nil
        let place = chance(5) ? 1 - primary.standby : primary.standby
        if place != primary.standby { leaveStandby() }
        note(
            "protect begins, generation \(primary.stored + 1), plug \(primary.plug.holds), to \(place), "
                + "alone after \(aloneAfter.map(\.description) ?? "as before")"
        )
        primary = PrimaryUnderTest(
            after: primary,
            session: sessions,
            at: now,
            aloneAfter: aloneAfter,
            standby: place
        )
        connection = nil
    }

    /// The next protect is told of another standby: this one hears no more.
    private func leaveStandby() {
        for number in standbyConnections { standby.handle(.connectionLost(ConnectionID(number)), at: now) }
        standbyConnections = []
        toStandby = []
        toPrimary = []
        standby.outgoing.removeAll()
        standby.closing.removeAll()
        standbyDownUntil = nil
    }

    // MARK: The network

    private func carry() {
        connect()
        let reachesStandby = wire == .up || wire == .toPrimaryCut
        let reachesPrimary = wire == .up || wire == .toStandbyCut
        if let open = connection, open.isOpen {
            for item in primary.outgoing { post(item, &toStandby, open.number) }
            primary.outgoing.removeAll()
        }
        for (message, number) in standby.outgoing {
            post(.message(message, session: 0), &toPrimary, Int(number))
        }
        standby.outgoing.removeAll()
        for number in standby.closing where reachesPrimary {
            standbyConnections.remove(Int(number))
            if let open = connection, open.number == Int(number) {
                connection = nil
                deliverToPrimary(open.number)
                if primary.connection == open.attempt { primary.loseConnection() }
            }
            standby.handle(.connectionLost(number), at: now)
        }
        standby.closing.removeAll()
        while reachesStandby, let packet = toStandby.first, packet.arrives <= now {
            toStandby.removeFirst()
            arriveAtStandby(packet)
        }
        while reachesPrimary, let packet = toPrimary.first, packet.arrives <= now {
            toPrimary.removeFirst()
            arriveAtPrimary(packet)
        }
    }

    private func post(_ item: Outgoing, _ queue: inout [Packet], _ number: Int) {
        // In order, as TCP delivers.
        let due = now + span(0...30)
        queue.append(
            Packet(arrives: max(due, queue.last?.arrives ?? due), connection: number, item: item)
        )
    }

    /// What the standby said before it closed comes first.
    private func deliverToPrimary(_ number: Int) {
        let mine = toPrimary.filter { $0.connection == number }
        toPrimary.removeAll { $0.connection == number }
        for packet in mine where chance(2) {
            if case .message(let message, _) = packet.item { primary.dispatch(.received(message)) }
        }
    }

    private func connect() {
        guard protectDownUntil == nil else { return }
        if let open = connection, primary.connection != open.attempt {
            connection = nil
            toStandby.removeAll { $0.connection == open.number && chance(2) }
            if wire == .up || wire == .toPrimaryCut { closeAtStandby(open.number) }
        }
        guard let attempt = primary.connection else { return }
        guard let open = connection else {
            connections += 1
            connection = (connections, attempt, now + span(0...20), false)
            return
        }
        guard !open.isOpen, now >= open.opensAt, wire == .up else { return }
        if standbyDownUntil != nil {
            connection = nil
            primary.loseConnection(.connectFailed("refused"))
            return
        }
        connection?.isOpen = true
        standbyConnections.insert(open.number)
        primary.dispatch(.connected)
    }

    private func arriveAtPrimary(_ packet: Packet) {
        guard let open = connection, open.number == packet.connection, protectDownUntil == nil,
            primary.connection == open.attempt, case .message(let message, _) = packet.item
        else { return }
        if case .ack = message { commits += 1 }
        primary.dispatch(.received(message))
    }

    private func arriveAtStandby(_ packet: Packet) {
        let number = packet.connection
        guard standbyDownUntil == nil, standbyConnections.contains(number) else { return }
        let id = ConnectionID(number)
        switch packet.item {
        case .message(.hello(let hello), _): standby.handle(.hello(hello, memory, on: id), at: now)
        case .message(let message, _): standby.handle(.received(message, on: id), at: now)
        case .piece: standby.handle(.dataReceived(on: id), at: now)
        case .epoch(let epoch, let session, let covers):
            guard standby.machine.sessionNumber == session else { return }
            standby.receiveEpoch(epoch, covers: covers, on: id, at: now)
        }
    }

    // MARK: The standby

    private func turnStandby() {
        if let until = standbyDownUntil {
            if now >= until { standbyDownUntil = nil }
            return
        }
        for each in standbys { each.handle(.tick, at: now) }
    }

    // MARK: The promises

    private func check() {
        for promise in primary.broken { breaks(promise) }
        let vouched = ActivationOrder(confirmFenced: "alpha")
        let unasked = ActivationOrder()
        for (place, standby) in standbys.enumerated() {
            if let image = standby.activatable(vouched, at: now), image.covers < primary.visible {
                breaks(
                    "activation at \(place) would lose output \(image.covers + 1) to \(primary.visible), which was seen"
                )
            }
            if standby.activatable(unasked, at: now) != nil, !guestHasCrashed {
                breaks("activation without anybody's word while the guest runs at \(place)")
            }
        }
    }

    private func breaks(_ promise: String) { broken.append("\(now): \(promise)") }
}
