import Checkpoint

/// What a scripted standby says, and the ways to a known place.
extension PrimaryUnderTest {
    func hear(_ message: Message) { dispatch(.received(message)) }
    func beat() { hear(.heartbeat(Heartbeat(number: 1, sentAt: now))) }
    func ack(_ epoch: UInt64) { hear(.ack(epoch: epoch)) }

    /// The connection that is being made stands, and the standby answers.
    func link(committed: UInt64? = nil, keepsOlder: Bool = false) {
        connect()
        hear(Sample.welcome(committed: committed, keepsOlder: keepsOlder))
    }

    /// The connection that is being made stands.
    func connect() {
        for _ in 0..<50 where connection == nil { advance(.milliseconds(10)) }
        dispatch(.connected)
    }

    /// Lets time pass until `epoch` is in flight.
    func runUntilSent(_ epoch: UInt64) {
        for _ in 0..<100 where machine.status.sent != epoch { advance(.milliseconds(10)) }
    }

    /// Protected: `epoch` is the last acknowledged.
    static func protected(
        _ settings: ProtectSettings = ProtectSettings(),
        epoch: UInt64 = 0
    ) -> PrimaryUnderTest {
        let primary = PrimaryUnderTest(settings)
        primary.link()
        for number in 0...epoch {
            primary.runUntilSent(number)
            primary.ack(number)
        }
        return primary
    }

    /// How often an effect occurred that `isWanted`.
    func count(_ isWanted: (ProtectEffect) -> Bool) -> Int { effects.count(where: isWanted) }

    func has(_ effect: ProtectEffect) -> Bool { effects.contains(effect) }
}

extension PrimaryUnderTest {
    /// The hellos that the peer has not taken yet.
    var hellos: [Hello] {
        outgoing.compactMap { if case .message(.hello(let hello), _) = $0 { hello } else { nil } }
    }
}
