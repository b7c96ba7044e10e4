import Checkpoint
import Testing

/// A primary and a standby over a network that delivers at once or not at all, step by step.
final class Pair {
    private(set) var primary = PrimaryUnderTest()
    private(set) var standby = StandbyUnderTest()
    /// False: nothing arrives, and nobody is told.
    var carries = true
    /// False: nobody listens at the standby's address.
    var standbyRuns = true { didSet { if !standbyRuns { attempt = nil } } }
    /// What the primary has handed over is on its way / what the standby has said is.
    var beforeStandby: (() -> Void)?, beforePrimary: (() -> Void)?

    /// The primary's connection that `number` stands for at the standby.
    private var attempt: Int?
    private var number = 0
    private static let step = TimeSpan.milliseconds(5)

    private var now: Instant { primary.now }
    private var isLinked: Bool { attempt != nil && primary.connection == attempt }

    /// Lets time pass until `isReached`, ten seconds at most.
    func run(_ seconds: UInt64 = 10, until isReached: () -> Bool = { false }) {
        let end = now + .seconds(seconds)
        while now < end, !isReached() { step() }
    }

    private func step() {
        primary.advance(Self.step)
        connect()
        beforeStandby?()
        let items = primary.outgoing
        primary.outgoing.removeAll()
        if isLinked, carries { for item in items { arrive(item) } }
        beforePrimary?()
        let answers = standby.outgoing
        standby.outgoing.removeAll()
        if carries {
            for (message, connection) in answers where isLinked && Int(connection) == number {
                primary.dispatch(.received(message))
            }
        }
        if standby.closing.contains(where: { Int($0) == number }), isLinked, carries {
            primary.loseConnection()
        }
        standby.closing.removeAll()
        if standbyRuns { standby.handle(.tick, at: now) }
        check()
    }

    private func connect() {
        if let attempt, primary.connection != attempt {
            self.attempt = nil
            standby.handle(.connectionLost(ConnectionID(number)), at: now)
        }
        guard let open = primary.connection, attempt == nil else { return }
        guard standbyRuns else { return primary.loseConnection(.connectFailed("refused")) }
        guard carries else { return }
        number += 1
        attempt = open
        primary.dispatch(.connected)
    }

    private func arrive(_ item: Outgoing) {
        let id = ConnectionID(number)
        switch item {
        case .message(.hello(let hello), _): standby.handle(.hello(hello, Sample.room, on: id), at: now)
        case .message(let message, _): standby.handle(.received(message, on: id), at: now)
        case .piece: standby.handle(.dataReceived(on: id), at: now)
        case .epoch(let epoch, let session, let covers):
            guard standby.machine.sessionNumber == session else { return }
            standby.receiveEpoch(epoch, covers: covers, on: id, at: now)
        }
    }

    /// What has been seen is in what could be activated (promises R1 to R3).
    private func check() {
        guard let image = standby.activatable(ActivationOrder(confirmFenced: "alpha"), at: now) else {
            return
        }
        #expect(image.covers >= primary.visible, "an activation would lose what was seen (\(now))")
    }

    // MARK: What dies

    /// The connection, and both ends know.
    func reset() { primary.loseConnection() }

    /// The standby's daemon, and with `guardian` the images.
    func killStandby(guardian: Bool) {
        standby.restart(guardian: guardian)
        standbyRuns = false
        if primary.connection != nil { primary.loseConnection() }
    }

    /// `protect`; another takes over.
    func replacePrimary() {
        primary.passWithoutProtect(.milliseconds(100), guestRuns: true)
        if attempt != nil { standby.handle(.connectionLost(ConnectionID(number)), at: now) }
        attempt = nil
        primary = PrimaryUnderTest(after: primary, session: 100, at: now)
    }
}
