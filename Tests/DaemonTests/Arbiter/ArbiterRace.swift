import Checkpoint
import Testing

/// What every arbiter must do, whoever asks it, from however many sides at once.
enum ArbiterRace {
    static func request(
        _ guest: GuestUUID,
        from: UInt64,
        owner: String = "alpha",
        id: UInt64,
        usedBefore: Bool = false
    ) -> GrantRequest {
        GrantRequest(
            guest: guest,
            from: from,
            wanted: GrantRecord(generation: from + 1, owner: owner, id: id),
            usedBefore: usedBefore
        )
    }

    /// All of `arbiters` ask for the same generation at once, `generations` times. Each time exactly one is granted it, the
    /// others are told by whom they are denied, and asking again changes nothing.
    static func run(
        _ arbiters: [any Arbiter],
        generations: UInt64,
        deadline: TimeSpan = .seconds(60)
    ) throws {
        let guest = GuestUUID.random()
        for from in 0..<generations {
            let requests = arbiters.indices.map { side in
                request(
                    guest,
                    from: from,
                    owner: "host\(side)",
                    id: UInt64(side + 1),
                    usedBefore: from > 0
                )
            }
            let gate = EventGate()
            let sides = zip(arbiters, requests).map { arbiter, request in
                Background {
                    gate.wait()
                    return arbiter.ask(request, deadline: deadline)
                }
            }
            gate.open()
            let answers = try sides.map { try $0.value() }
            let winners = zip(requests, answers).filter { $0.1 == .granted($0.0.wanted) }.map(\.0.wanted)
            try #require(winners.count == 1, "generation \(from + 1): \(answers)")
            for answer in answers where answer != .granted(winners[0]) {
                #expect(answer == .denied(by: winners[0]))
            }
            #expect(try arbiters[0].record(of: guest, deadline: deadline) == winners[0])
            for (request, answer) in zip(requests, answers) {
                #expect(arbiters[0].ask(request, deadline: deadline) == answer, "the same, asked again")
            }
        }
    }
}
