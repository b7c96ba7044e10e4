import Checkpoint
import XenStream

/// Hosts, wires, a client, an operator and what goes wrong, under a scheduler that one seed decides.
///
/// First everything may fail; then nothing does, and protection has to come back. After every event the promises are
/// checked (`Promises`). In half of the worlds there is an arbiter, or a person in its place, and in a third of those the guest has a
/// disk that nobody replicates; in all of them `Operator` vouches, honestly.
package final class World {
    let seed: UInt64
    let misdeed: Misdeed?
    var dice: SplitMix
    private(set) var now = Instant(nanoseconds: 1_000_000_000_000)
    private var timeline = Timeline()
    private(set) var hosts: [Host] = []
    /// From a host to a host.
    var wires: [[Wire]] = []
    private(set) var connections: [Connection] = []
    private(set) lazy var client = Client(of: self)
    private(set) lazy var person = Operator(in: self)
    private(set) lazy var arbiter = SimulatedArbiter(in: self, hosts: hosts.count)
    /// What both sides were started with.
    let arbiterChoice: ArbiterChoice?
    let activatesByItself: Bool
    var settings = ProtectSettings()
    let guest = GuestDescription(
        name: "web",
        uuid: GuestUUID(high: 1, low: 2),
        kind: .hvm,
        pageCount: 16,
        address: "",
        config: []
    )
    private var copies = 0, pieces = 0

    package internal(set) var coverage = Coverage()
    /// The first promise that was broken.
    package private(set) var broken: String?
    package private(set) var events = 0
    package private(set) var story: [String] = []
    private let tells: Bool
    /// Nothing goes wrong any more.
    private(set) var isFair = false
    private var isOver = false
    /// A schedule is at least as long as this.
    package static let leastEvents = 200, leastFaults = 2
    /// No schedule of healthy machines has as many.
    private static let mostEvents = 400_000

    package init(seed: UInt64, misdeed: Misdeed? = nil, tells: Bool = false) {
        self.seed = seed
        self.misdeed = misdeed
        self.tells = tells
        dice = SplitMix(state: seed)

        switch UInt64.random(in: 0...7, using: &dice) {
        case 0...3: arbiterChoice = nil
        case 4...6: arbiterChoice = ArbiterChoice(name: "arbiter", decides: true)
        default: arbiterChoice = ArbiterChoice(name: "manual", decides: false)
        }
        activatesByItself =
            arbiterChoice?.decides == true && UInt64.random(in: 0...2, using: &dice) > 0
        settings.arbitration = arbiterChoice.map { .arbiter(decides: $0.decides) } ?? .preferPrimary

        let count = chance(4) ? 3 : 2
        settings.interval = .milliseconds([50, 100, 200, 400][Int(random(0...3))])
        settings.latencyTarget = seed % 5 == 0 ? .milliseconds(100) : nil
        settings.aloneAfter = .seconds(random(2...6))
        settings.hasUnreplicatedDisk = arbiterChoice != nil && seed % 3 == 0
        hosts = (0..<count).map { Host($0, in: self) }
        wires = Array(repeating: Array(repeating: Wire(), count: count), count: count)
    }

    // MARK: Chance

    func random(_ range: ClosedRange<UInt64>) -> UInt64 { .random(in: range, using: &dice) }
    func chance(_ oneIn: UInt64) -> Bool { random(1...oneIn) == 1 }
    func any<T>(_ all: [T]) -> T? { all.randomElement(using: &dice) }

    // MARK: Time

    func at(_ time: Instant, _ body: @escaping () -> Void) { timeline.add(at: time, body) }
    func after(_ span: TimeSpan, _ body: @escaping () -> Void) { timeline.add(at: now + span, body) }

    /// Plays the schedule to its end.
    package func run() {
        for host in hosts { host.startDaemon() }
        startGuest(on: hosts[0])
        person.begin()
        Misfortune(in: self).begin(for: .milliseconds(random(5000...30_000)))
        while broken == nil, !isOver, let (time, body) = timeline.next() {
            now = time
            events += 1
            body()
            Promises.check(self)
            if events > Self.mostEvents { breaks("R4: it goes on for ever") }
        }
        coverage.events = events
        dismantle()
    }

    func becomeFair() {
        isFair = true
        note { "--- from here on nothing goes wrong ---" }
        for row in wires.indices { for column in wires.indices { wires[row][column] = Wire() } }
        for host in hosts { host.clearTroubles() }
        arbiter.downUntil = now
        arbiter.cutUntil = arbiter.cutUntil.map { _ in now }
        arbiter.isUnreliable = false
        after(.seconds(120)) { [self] in breaks("R4: protection does not come back") }
    }

    func end() { isOver = true }

    /// Objects that know each other let go.
    private func dismantle() {
        isOver = true
        for host in hosts {
            host.protect?.fate = nil
            host.standby?.fate = nil
            host.protect?.die()
            host.standby?.die()
        }
        for connection in connections { connection.goDark() }
        timeline = Timeline()
    }

    // MARK: What happens

    func note(_ text: () -> String) {
        guard tells, !isOver else { return }
        let time = now - Instant(nanoseconds: 1_000_000_000_000)
        story.append("\(time.milliseconds) ms: \(text())")
    }

    func breaks(_ promise: String) {
        guard broken == nil, !isOver else { return }
        note { "BROKEN: \(promise)" }
        broken = promise
    }

    func nextPiece() -> Int {
        pieces += 1
        return pieces
    }

    func connect(_ client: PrimaryDriver, to host: Int) -> Connection {
        let connection = Connection(ConnectionID(connections.count + 1), from: client, to: host)
        connections.append(connection)
        return connection
    }

    func darken(_ host: Int) {
        for connection in connections where connection.primary == host || connection.standby == host {
            connection.goDark()
        }
    }

    // MARK: Copies

    /// The copy that is the guest, if it runs.
    var owner: GuestCopy? {
        for host in hosts { if let copy = host.copy, copy.number == client.owner { return copy } }
        return nil
    }

    /// A person starts the guest anew; whatever it was before is over.
    func startGuest(on host: Host) {
        copies += 1
        host.copy = GuestCopy(number: copies, on: host, knowing: 0)
        client.begin(copies)
        note { "the guest starts anew on \(host.name)" }
    }

    /// An activation starts an image.
    func start(_ image: Image, on host: Host, as facts: StandbyFacts) {
        let record = try? Records.standby(host.disk.certain(Records.standby))
        if record != facts { breaks("R1: \(host.name) starts a copy without a durable grant") }
        copies += 1
        host.copy = GuestCopy(number: copies, on: host, knowing: image.knows)
        client.follow(copies, image)
        note { "the guest is active on \(host.name), generation \(facts.generation), knowing \(image.knows)" }
    }
}
