import Checkpoint
import Glibc
import SystemSupport
import Testing
import Transport

@testable import Daemon

@Suite struct LinkWitnessTests {
    private func at(_ ms: UInt64) -> Instant { Instant(nanoseconds: 0) + .milliseconds(ms) }

    @Test func whatTheSocketSaidComesBeforeWhatTheMachineThinks() {
        var witness = LinkWitness()
        witness.begins(at: at(0))
        witness.heard(at: at(100))
        witness.ended(ConnectionError.closed)
        #expect(witness.lost(at: at(200)) { _ in .violation } == .reset)
        #expect(witness.failure == .reset && witness.lastContact == at(100))
    }

    @Test func silenceIsCountedFromWhenThisSideListened() {
        var witness = LinkWitness()
        witness.begins(at: at(0))
        witness.heard(at: at(100))
        witness.wasBusy(until: at(900))
        var counted: TimeSpan?
        let failure = witness.lost(at: at(2000)) { silence in
            counted = silence
            return .silence(silence)
        }
        #expect(failure == .silent && counted == .milliseconds(1100))
        #expect(witness.lastContact == at(100))
    }

    @Test func triesThatFailInTheSameWayAreNoNews() {
        var witness = LinkWitness()
        witness.begins(at: at(0))
        func loses(_ code: Int32) -> Bool {
            witness.tries()
            witness.ended(SystemError("connect", code: code))
            _ = witness.lost(at: at(1)) { _ in .byUs }
            return witness.isNews
        }
        #expect(loses(ETIMEDOUT))
        #expect(!loses(EHOSTUNREACH), "a host that is off, in other words")
        #expect(loses(ECONNREFUSED), "the host is back")
        #expect(!loses(ECONNREFUSED))
        witness.isUp()
        #expect(loses(ECONNREFUSED))
    }

    @Test func anOlderConnectionSaysNothingOfANewOne() {
        var witness = LinkWitness()
        witness.ended(SystemError("connect", code: ECONNREFUSED))
        witness.tries()
        #expect(witness.lost(at: at(1)) { _ in .byUs } == .ended)
        witness.isUp()
        #expect(witness.failure == nil)
    }

    @Test(arguments: [
        (ECONNREFUSED, LinkFailure.notListening), (ECONNRESET, .reset), (EPIPE, .reset),
        (ETIMEDOUT, .unreachable), (EHOSTUNREACH, .unreachable), (ENETUNREACH, .unreachable),
        (EMFILE, .ended),
    ])
    func theKernelsErrorsAreToldApart(_ code: Int32, _ failure: LinkFailure) {
        var witness = LinkWitness()
        witness.ended(SystemError("x", code: code))
        #expect(witness.lost(at: at(0)) { _ in .violation } == failure)
    }
}
