import Checkpoint
import NetBuffer
import Testing

@Suite struct ClosedEpochTests {
    @Test func oneAtATime() throws {
        var closed = ClosedEpoch.nothing()
        try closed.cut(1)
        try closed.cut(1)
        #expect(throws: PlugRefusal.alreadyCut(closed: 1)) { try closed.cut(2) }
        #expect(closed == .one(1))
        #expect(throws: PlugRefusal.notCut(epoch: 2, closed: 1)) { try closed.mayRelease(2) }
        #expect(try closed.mayRelease(1))
    }

    @Test func aReleaseTwiceIsAsGoodAsOnce() throws {
        var closed = ClosedEpoch.nothing(released: 4)
        #expect(try !closed.mayRelease(4))
        #expect(throws: PlugRefusal.notCut(epoch: 3, closed: nil)) { try closed.mayRelease(3) }
        try closed.cut(5)
        #expect(throws: PlugRefusal.self) { try closed.mayRelease(4) }
    }

    @Test func whatIsDroppedHasNoEpochs() {
        var closed = ClosedEpoch.dropping
        #expect(throws: PlugRefusal.dropping) { try closed.cut(1) }
        #expect(throws: PlugRefusal.dropping) { try closed.mayRelease(1) }
    }
}
