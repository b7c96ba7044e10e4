import Daemon
import Glibc
import SystemSupport
import Testing
import Transport

@testable import Benchmark

/// B6, but for what takes a primary to be lost.
@Suite(.timeLimit(.minutes(1))) struct FailoverTests {
    private func samples(running: UInt64...) -> [FailoverSample] {
        running.map {
            FailoverSample(
                lost: 1_000_000_000,
                noticed: 1_100_000_000,
                running: 1_000_000_000 + $0 * 1_000_000
            )
        }
    }

    @Test func whatCountsBeginsWithTheKernelsWord() throws {
        let rows = FailoverMeasure.rows(.reset, samples(running: 120, 118))
        #expect(rows.map(\.ours.p10) == [18, 118])
        #expect(rows.map(\.ours.p99) == [20, 120])
        #expect(rows.map(\.verdict) == [.met, .reported])
        #expect(FailoverMeasure.rows(.reset, samples(running: 121)).first?.verdict == .notMet)
    }

    @Test func silenceIsALossAfterASecond() {
        let met = FailoverMeasure.rows(.silence, samples(running: 1120))
        #expect(met.map(\.ours.p10) == [1020, 1120] && met.map(\.verdict) == [.met, .reported])
        #expect(FailoverMeasure.rows(.silence, samples(running: 1121)).first?.verdict == .notMet)
        #expect(FailoverMeasure.rows(.silence, []).isEmpty)
    }

    @Test func oneWrongCutIsTooMany() {
        #expect(FailoverMeasure.row(cuts: 520, wrong: 0).verdict == .met)
        #expect(FailoverMeasure.row(cuts: 520, wrong: 1).verdict == .notMet)
    }

    @Test(arguments: [(":17\r", 17), (":-1\r", -1), (":17", nil), ("+OK\r", nil), (":\r", nil), ("", nil)])
    func aNumberIsTakenFromTheGuestsAnswer(_ line: String, _ number: Int?) {
        #expect(CountingClient.number(line) == number)
    }

    @Test func theDoorSeesTheEndOfAConnection() throws {
        let directory = try TemporaryDirectory()
        let host = try StandbyHost(Paths(runtime: directory.path, state: directory.path), .plaintext)
        defer { host.stop() }
        let door = try WatchedDoor(to: host)
        let socket = try TCP.connect(to: door.address, milliseconds: 5000)
        #expect(door.endSeen == nil)
        let before = Clock.boot
        socket.shutDown()
        for _ in 0..<10_000 where door.endSeen == nil { usleep(1000) }
        #expect(try #require(door.endSeen) > before)
    }
}
