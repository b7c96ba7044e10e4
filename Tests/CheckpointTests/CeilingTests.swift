import Testing
import XenStream

@testable import Checkpoint

/// What an image has no room for is refused before it is sealed, and does not spoil the epochs after it.
@Suite struct CeilingTests {
    @Test func memoryThatGrewIsTakenOnceThereIsRoom() throws {
        let standby = try ImageStandby(.hvm, pages: 60, memoryLimit: UInt64(26 * guestPageSize))
        try standby.commit(SampleStream(.hvm, pages: 24, checkpoints: 1).epochs()[0], epoch: 0)
        let before = ImageContents(standby.image)
        let grown = SampleStream(.hvm, pages: 60, checkpoints: 2).epochs()[1]
        #expect(throws: EpochError.overMemoryCeiling(pages: 27)) { try standby.receive(grown, epoch: 1) }
        #expect(ImageContents(standby.image) == before)
        standby.assembler.limitMemory(1 << 30)
        try standby.rewind()
        try standby.commit(grown, epoch: 1)
        #expect(standby.image.epoch == 1)
    }

    /// A sealed epoch that cannot be applied would be an image lost after its acknowledgement.
    @Test func deviceModelStateThatIsTooLong() throws {
        let standby = try ImageStandby(.hvm, pages: 16, epochBuffer: 160 << 20)
        let epochs = SampleStream(.hvmWithEmulator, pages: 16, checkpoints: 2).epochs()
        let checkpoint: [UInt8] = [0x0E, 0, 0, 0, 0, 0, 0, 0]
        let second = epochs[1]
        let libxl = try #require(
            Array(stride(from: 0, to: second.count, by: 8)).last { Array(second[$0..<$0 + 8]) == checkpoint }
        )
        try standby.commit(epochs[0], epoch: 0)
        let before = ImageContents(standby.image)
        let size = ImageLayout.emulatorCapacity - 24
        let keys = Array("physmap/0/size\u{0}800000\u{0}".utf8)
        let device = [UInt8](repeating: 0, count: size)
        let model = [(LibxlRecordType.emulatorXenstoreData, keys), (.emulatorContext, device)].flatMap {
            type,
            content in
            [UInt8](unsafeUninitializedCapacity: content.count + 64) { buffer, count in
                var writer = StreamWriter(UnsafeMutableRawBufferPointer(buffer))
                content.withUnsafeBytes { writer.appendEmulator(type, content: $0) }
                count = writer.count
            }
        }
        let long = Array(second[..<(libxl + 8)]) + model + second.suffix(8)
        #expect(throws: EpochError.image(ImageError("its device model state is too long"))) {
            for start in stride(from: 0, to: long.count, by: 1 << 20) {
                let piece = long[start..<min(start + 1 << 20, long.count)]
                try standby.assembler.space(piece.count).copyBytes(from: piece)
                try standby.assembler.received(piece.count, epoch: 1)
            }
        }
        #expect(ImageContents(standby.image) == before)
        try standby.rewind()
        try standby.commit(epochs[1], epoch: 1)
        #expect(standby.image.epoch == 1)
    }
}
