import Checkpoint
import Logging
import SystemSupport
import Testing

@testable import Daemon

@Suite struct DoorkeeperTests {
    private let door = Doorkeeper()

    /// Comes from `host`; the other end, which tells whether it was turned out.
    private func come(_ id: ConnectionID, from host: String) throws -> Descriptor {
        let (near, far) = try UnixSocket.pairOfStreams()
        #expect(door.admit(near, id: id, from: host))
        return far
    }

    private func isOut(_ end: Descriptor) -> Bool { Poll.peerHasClosed(end.raw) }

    @Test func theOldestOfAnAddressMakesRoomForItsNewest() throws {
        var ends: [Descriptor] = []
        for id in 1...9 { ends.append(try come(ConnectionID(id), from: "192.0.2.1")) }
        #expect(isOut(ends[0]) && !isOut(ends[1]) && !isOut(ends[8]))
        #expect(door.waiting == Doorkeeper.fromOneAddress)
        #expect(!door.passed(1, authenticated: true))
        #expect(door.passed(2, authenticated: false))
        // The same /64 is one address; another is another.
        var others: [Descriptor] = []
        for id in 10...19 { others.append(try come(ConnectionID(id), from: "2001:db8:0:1::\(id)")) }
        #expect(isOut(others[0]) && isOut(others[1]) && !isOut(others[2]))
        let apart = try come(20, from: "2001:db8:0:2::1")
        #expect(!isOut(apart) && !isOut(others[2]))
    }

    @Test func aKnownAddressIsNotKeptOutByAllOthers() throws {
        _ = try come(1, from: "192.0.2.7")
        #expect(door.passed(1, authenticated: true))
        door.left(1)
        let known = try come(2, from: "192.0.2.7")
        var ends: [Descriptor] = []
        for id in 0..<40 { ends.append(try come(ConnectionID(100 + id), from: "198.51.100.\(id)")) }
        #expect(ends.filter { !isOut($0) }.count == Doorkeeper.inAll)
        #expect(!isOut(known))
        // All its guests may come at once.
        for id in 0..<30 { ends.append(try come(ConnectionID(200 + id), from: "192.0.2.7")) }
        #expect(!isOut(known))
    }

    @Test func whoWasTurnedOutCountsUntilItHasGone() throws {
        var ends: [Descriptor] = []
        for id in 0..<Doorkeeper.threads { ends.append(try come(ConnectionID(id), from: "192.0.2.1")) }
        let (near, _) = try UnixSocket.pairOfStreams()
        #expect(!door.admit(near, id: 1000, from: "192.0.2.2"))
        door.left(0)
        #expect(door.admit(near, id: 1001, from: "192.0.2.2"))
    }

    @Test func theLogOfRefusalsSaysHowManyWereLeftOut() {
        let log = CapturedLog()
        let refusals = RefusalLog(log.logger)
        let second: UInt64 = 1_000_000_000
        for _ in 0..<100 { refusals.note("refused", peer: "192.0.2.1", at: 50 * second) }
        #expect(log.lines.count == RefusalLog.burst)
        refusals.note("refused", peer: "192.0.2.1", at: 56 * second)
        refusals.note("refused", peer: "192.0.2.1", at: 57 * second)
        #expect(log.lines.count == RefusalLog.burst + 1)
        // Time that nobody used is not saved without end.
        for _ in 0..<100 { refusals.note("refused", peer: "192.0.2.1", at: 5000 * second) }
        #expect(log.lines.count == 2 * RefusalLog.burst + 1)
    }
}
