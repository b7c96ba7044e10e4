import Checkpoint
import Testing
import XenStream

/// An epoch that is not right is refused, touches nothing, and after a rewind the right one is taken.
@Suite struct EpochRefusalTests {
    let sample = SampleStream(.hvm, pages: 24, checkpoints: 3, seed: 5)
    let epochs: [[UInt8]]
    let standby: ImageStandby
    let before: ImageContents

    init() throws {
        epochs = sample.epochs()
        standby = try ImageStandby(.hvm, pages: 24)
        try standby.commit(epochs[0], epoch: 0)
        before = ImageContents(standby.image)
    }

    func goesOn() throws {
        #expect(ImageContents(standby.image) == before)
        standby.assembler.limitMemory(1 << 40)
        try standby.rewind()
        try standby.commit(epochs[1], epoch: 1)
        try standby.commit(epochs[2], epoch: 2)
        #expect(standby.image.epoch == 2)
    }

    @Test func anotherEpochsBytes() throws {
        #expect(throws: EpochError.wrongEpoch(got: 2, expected: 1)) {
            try standby.receive(epochs[1], epoch: 2)
        }
        try goesOn()
    }

    @Test func anotherEpochsEnd() throws {
        try standby.receive(epochs[1], epoch: 1)
        #expect(throws: EpochError.wrongEpoch(got: 3, expected: 1)) { try standby.finish(epoch: 3) }
        try goesOn()
    }

    @Test func wrongLength() throws {
        try standby.receive(epochs[1], epoch: 1)
        let end = EpochEnd(length: standby.end.length + 8, checksum: standby.end.checksum)
        #expect(throws: EpochError.wrongLength(got: standby.end.length, announced: end.length)) {
            try standby.assembler.finish(end, epoch: 1)
        }
        try goesOn()
    }

    @Test func wrongChecksum() throws {
        try standby.receive(epochs[1], epoch: 1)
        let end = EpochEnd(length: standby.end.length, checksum: standby.end.checksum ^ 1)
        #expect(throws: EpochError.wrongChecksum) { try standby.assembler.finish(end, epoch: 1) }
        try goesOn()
    }

    @Test func garbage() throws {
        let error = #expect(throws: EpochError.self) {
            try standby.receive([UInt8](repeating: 0x7F, count: 64), epoch: 1)
        }
        guard case .stream = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        try goesOn()
    }

    @Test func pageBeyondTheGuest() throws {
        let larger = SampleStream(.hvm, pages: 200, checkpoints: 2, seed: 5).epochs()
        let error = #expect(throws: EpochError.self) { try standby.receive(larger[1], epoch: 1) }
        guard case .stream(let refusal) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(refusal.kind == .pfnOutOfRange || refusal.kind == .overBudget)
        try goesOn()
    }

    @Test func twoCheckpoints() throws {
        try standby.receive(epochs[1] + epochs[2], epoch: 1)
        #expect(throws: EpochError.notOneCheckpoint) { try standby.finish(epoch: 1) }
        try goesOn()
    }

    @Test func noCheckpoint() throws {
        try standby.receive(epochs[1].dropLast(16), epoch: 1)
        #expect(throws: EpochError.notOneCheckpoint) { try standby.finish(epoch: 1) }
        try goesOn()
    }

    @Test func nothingAtAll() throws {
        #expect(throws: EpochError.notOneCheckpoint) { try standby.finish(epoch: 1) }
        try goesOn()
    }

    @Test func tooLong() throws {
        let room = 2000
        standby.assembler.limitMemory(UInt64(standby.image.populatedPages * guestPageSize + room))
        #expect(throws: EpochError.tooLong(limit: room)) { try standby.receive(epochs[1], epoch: 1) }
        try goesOn()
    }

    @Test func overTheMemoryCeilingInEpochZero() throws {
        let small = try ImageStandby(.hvm, pages: 24, memoryLimit: UInt64(10 * guestPageSize))
        #expect(throws: EpochError.overMemoryCeiling(pages: 11)) { try small.receive(epochs[0], epoch: 0) }
        #expect(small.image.epoch == nil)
    }
}
