import Testing

@testable import Checkpoint

/// Who may start a guest anew, after both hosts had no power.
@Suite struct StartDecisionTests {
    /// It ran here, at generation 3.
    private let ranHere = HostClaim(primary: 3)

    private func decide(
        _ own: HostClaim,
        _ peer: HostClaim?,
        fenced: Bool = false,
        abandons: Bool = false,
        up: TimeSpan = .seconds(60)
    ) -> StartDecision {
        StartQuestion(
            own: own,
            peer: peer,
            fenced: fenced,
            abandonsImage: abandons,
            upSince: up,
            aloneAfter: .seconds(10)
        ).decision
    }

    @Test func whereItRanLastItStartsOnceTheOtherHostConfirmsThat() {
        #expect(decide(ranHere, HostClaim(standby: 3)) == .start(generation: 4))
        #expect(decide(ranHere, HostClaim()) == .start(generation: 4))
        // A planned end raises the number there, and gives nobody the guest.
        #expect(decide(ranHere, HostClaim(standby: 4)) == .start(generation: 5))
        // It was the primary before a failover and a failback.
        #expect(
            decide(HostClaim(primary: 5, standby: 4), HostClaim(primary: 3, standby: 5))
                == .start(generation: 6)
        )
    }

    @Test func whereItWasActivatedItStartsAndNotWhereItWasBefore() {
        let activated = HostClaim(standby: 4, holding: .active)
        #expect(decide(activated, ranHere) == .start(generation: 5))
        #expect(decide(ranHere, activated) == .activeElsewhere(generation: 4))
        #expect(decide(HostClaim(primary: 3, outdatedBy: 4), activated) == .activeElsewhere(generation: 4))
        // The activated guest was protected from there.
        #expect(
            decide(ranHere, HostClaim(primary: 5, standby: 4, holding: .active))
                == .activeElsewhere(generation: 5)
        )
    }

    @Test func whoeverWasStandbySinceHasNoClaim() {
        let oldPrimary = HostClaim(primary: 3, standby: 5)
        #expect(oldPrimary.runs == nil)
        #expect(decide(oldPrimary, HostClaim(primary: 5, standby: 4)) == .activeElsewhere(generation: 5))
    }

    @Test func aHostThatWasNotAskedIsNotCalledSilent() {
        var question = StartQuestion(
            own: ranHere,
            peer: nil,
            notAskedPasses: true,
            upSince: .seconds(60),
            aloneAfter: .seconds(10)
        )
        #expect(question.decision == .peerNotAsked(passes: true))
        question.fenced = true
        #expect(question.decision == .start(generation: 4))
        (question.own, question.fenced) = (HostClaim(standby: 3), false)
        #expect(question.decision == .notHere)
    }

    @Test func aSilentHostMayRunIt() {
        #expect(decide(ranHere, nil) == .peerSilent)
        #expect(decide(ranHere, nil, fenced: true) == .start(generation: 4))
        #expect(decide(HostClaim(standby: 3), nil) == .notHere)
        // The standby's host is all that is left, and its image went with the power.
        #expect(decide(HostClaim(standby: 3), nil, fenced: true) == .start(generation: 4))
    }

    @Test func theSameNumberTwiceIsNoOnes() {
        let alone = HostClaim(primary: 4)
        let activated = HostClaim(standby: 4, holding: .active)
        #expect(decide(alone, activated) == .splitBrain(generation: 4))
        #expect(decide(activated, alone) == .splitBrain(generation: 4))
    }

    @Test func anImageIsNotGivenUpUnasked() {
        let image = HostClaim(standby: 3, holding: .image)
        #expect(decide(ranHere, image) == .imageThere(generation: 3))
        #expect(decide(ranHere, image, abandons: true) == .start(generation: 4))
        #expect(decide(HostClaim(standby: 3, holding: .image), nil, fenced: true) == .imageHere)
        // One that is outdated already is no loss.
        #expect(decide(HostClaim(primary: 4), image) == .start(generation: 5))
    }

    /// Until alone-after has passed the standby takes its image for the newest there can be, and so must this host.
    @Test func anImageIsGivenUpOnlyOnceNobodyTrustsIt() {
        let image = HostClaim(standby: 3, holding: .image)
        #expect(decide(ranHere, image, abandons: true, up: .seconds(4)) == .tooSoon(.seconds(6)))
        #expect(decide(ranHere, nil, fenced: true, up: .seconds(4)) == .tooSoon(.seconds(6)))
    }

    /// Whatever two hosts know, never do both of them start it by themselves.
    @Test func neverBoth() {
        var claims: [HostClaim] = []
        for primary in [0, 3, 4, 5] as [UInt64] {
            for outdatedBy in [0, 4] as [UInt64] {
                for standby in [0, 3, 4, 5] as [UInt64] {
                    for holding in [HostClaim.Holding.nothing, .image, .active] {
                        claims.append(
                            HostClaim(
                                primary: primary,
                                outdatedBy: outdatedBy,
                                standby: standby,
                                holding: holding
                            )
                        )
                    }
                }
            }
        }
        func starts(_ own: HostClaim, _ peer: HostClaim) -> Bool {
            if case .start = decide(own, peer) { true } else { false }
        }
        for one in claims {
            for other in claims where starts(one, other) {
                #expect(!starts(other, one), "\(one) and \(other)")
                // Nor does one that lost what the other knows.
                #expect(decide(one, nil) == .peerSilent)
            }
        }
    }
}
