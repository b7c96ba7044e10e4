import Checkpoint
import Testing

/// What was seen of a connection, and what it is taken for.
@Suite struct LinkFailureTests {
    private func kernel(
        unacknowledged: UInt32 = 0,
        unsent: UInt32 = 0,
        ack: UInt64,
        data: UInt64
    ) -> LinkFacts.Kernel {
        LinkFacts.Kernel(
            unacknowledged: unacknowledged,
            unsentBytes: unsent,
            sinceAcknowledgement: .milliseconds(ack),
            sinceData: .milliseconds(data)
        )
    }

    private func judge(_ end: LinkFacts.End, _ kernel: LinkFacts.Kernel? = nil) -> LinkFailure {
        LinkFailure(LinkFacts(end, kernel: kernel))
    }

    private let beating = LinkFacts.End.noCommit(silence: .milliseconds(90))

    @Test func whatTheKernelSaysIsBelieved() {
        #expect(judge(.byPeer) == .reset)
        #expect(judge(.byPeer, kernel(unacknowledged: 9, ack: 5000, data: 5000)) == .reset)
        #expect(judge(.nobodyListens) == .notListening)
        #expect(judge(.noAnswer) == .unreachable)
        #expect(judge(.refused) == .refused)
        #expect(judge(.violation) == .violation)
        #expect(judge(.byUs) == .ended)
    }

    @Test func aKernelThatAcknowledgesHasAStoppedProcess() {
        #expect(judge(.silence(.seconds(1)), kernel(ack: 60, data: 1010)) == .stopped)
        // The newest beat is not acknowledged yet: delayed acknowledgements take up to 200 ms, or 500.
        #expect(judge(.silence(.seconds(1)), kernel(unacknowledged: 2, ack: 240, data: 1010)) == .stopped)
        // Its window is closed: it reads nothing, and its kernel says so.
        #expect(judge(.silence(.seconds(1)), kernel(unsent: 4096, ack: 400, data: 1010)) == .stopped)
    }

    /// A standby that waits for the rest of a frame sends nothing meanwhile: a cut link and a stopped peer look the same.
    @Test func withNothingUnderWayNobodyCanTell() {
        #expect(judge(.silence(.seconds(1)), kernel(ack: 1010, data: 1010)) == .silent)
    }

    @Test func aHostThatAcknowledgesNothingIsNotThere() {
        #expect(
            judge(.silence(.seconds(1)), kernel(unacknowledged: 10, ack: 1010, data: 1010)) == .unreachable
        )
        #expect(
            judge(.silence(.seconds(6)), kernel(unacknowledged: 60, ack: 3000, data: 6010)) == .unreachable
        )
        // On a slow machine the same delay is none of the link's.
        #expect(judge(.silence(.seconds(6)), kernel(unacknowledged: 2, ack: 2900, data: 6010)) == .stopped)
    }

    @Test func bytesThatTrickleAreASlowLink() {
        #expect(judge(.silence(.seconds(1)), kernel(unacknowledged: 3, ack: 90, data: 90)) == .slow)
    }

    @Test func withoutAKernelsWordNoMoreIsSaidThanIsKnown() {
        #expect(judge(.silence(.seconds(1))) == .silent)
        #expect(judge(beating) == .notCommitting)
    }

    @Test func aPeerThatBeatsAndDoesNotCommit() {
        // It has all there is, or reads no more: in both cases it is the peer's.
        #expect(judge(beating, kernel(ack: 20, data: 20)) == .notCommitting)
        #expect(judge(beating, kernel(unacknowledged: 1, ack: 20, data: 20)) == .notCommitting)
        #expect(judge(beating, kernel(unsent: 1 << 20, ack: 200, data: 20)) == .notCommitting)
        // Segments are under way for all that time.
        #expect(judge(beating, kernel(unacknowledged: 40, unsent: 1 << 20, ack: 20, data: 20)) == .slow)
        #expect(judge(beating, kernel(unacknowledged: 40, ack: 20, data: 20)) == .slow)
    }

    /// `--max-hold` may be over before silence counts as a loss: what does not beat is not said to.
    @Test func aPeerThatNeitherCommitsNorBeats() {
        let end = LinkFacts.End.noCommit(silence: .seconds(2))
        #expect(judge(end, kernel(ack: 60, data: 2010)) == .stopped)
        #expect(judge(end, kernel(unacknowledged: 20, ack: 2010, data: 2010)) == .unreachable)
        #expect(judge(end) == .silent)
        let almost = LinkFacts.End.noCommit(silence: .milliseconds(999))
        #expect(judge(almost, kernel(ack: 60, data: 1000)) == .notCommitting)
    }

    @Test func theMachinesWordsAreTakenAsTheyAreMeant() {
        let span = TimeSpan.seconds(3)
        #expect(LinkLoss.silence.end(silence: span) == .silence(span))
        #expect(LinkLoss.handshakeTimeout.end(silence: span) == .silence(span))
        #expect(LinkLoss.notAcknowledging.end(silence: span) == .noCommit(silence: span))
        #expect(LinkLoss.connectFailed("x").end(silence: span) == .noAnswer)
        #expect(LinkLoss.reset("the epoch in flight cannot be repeated").end(silence: span) == .byUs)
        #expect(LinkLoss.violation("x").end(silence: span) == .violation)
    }

    @Test func theKernelIsBoundedAndRemusdJudgesFirst() {
        for seconds in [2, 10, 60, 300, 3600] as [UInt64] {
            let limit = LinkFailure.kernelLimit(aloneAfter: .seconds(seconds))
            #expect(limit > ProtectSettings.suspectAfter(.seconds(seconds)))
            #expect(limit >= .seconds(20) && limit <= .seconds(3600))
        }
        #expect(LinkFailure.kernelLimit(aloneAfter: TimeSpan(nanoseconds: 1 << 62)) == .seconds(3600))
    }

    @Test func theDefaultsAreThoseOfTheDesign() {
        let settings = ProtectSettings()
        #expect(settings.heartbeat == .milliseconds(100))
        #expect(settings.suspectAfter == .seconds(1))
    }

    /// Words that scripts go by.
    @Test func theWordsStayWhatTheyAre() {
        #expect(
            LinkFailure.allCases.map(\.rawValue) == [
                "reset", "not-listening", "stopped", "unreachable", "slow", "not-committing", "refused",
                "violation", "ended", "silent",
            ]
        )
        #expect(
            LinkFailure.text(.stopped, of: "the standby", "the standby went silent")
                == "stopped: the standby's host acknowledges and its process says nothing: stopped, hung, or starved of "
                + "processor (the standby went silent)"
        )
    }
}
