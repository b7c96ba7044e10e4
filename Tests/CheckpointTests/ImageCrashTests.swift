import Checkpoint
import Testing
import XenStream

/// Whoever adopts an image's memory after a death at any step finds exactly the sealed epoch.
@Suite(.serialized) struct ImageCrashTests {
    @Test(arguments: SampleStream.Guest.allCases) func atEveryStepOfACommit(_ guest: SampleStream.Guest)
        throws
    {
        let epochs = SampleStream(guest, pages: 24, checkpoints: 3, seed: 9).epochs()
        let kind: GuestKind = guest == .pv32 || guest == .pv64 ? .pv : .hvm
        let standby = try ImageStandby(kind, pages: 24)
        try standby.receive(epochs[0], epoch: 0)
        #expect(throws: ImageError("it was never committed")) { try standby.memory.copy().adopt() }
        try standby.commit(0)
        for epoch in UInt64(1)...2 {
            let old = ImageContents(standby.image)
            try standby.receive(epochs[Int(epoch)], epoch: epoch)
            #expect(ImageContents(try standby.memory.copy().adopt()) == old)
            try standby.seal(epoch)
            var copies = [standby.memory.copy()]
            try standby.image.applySealed(epoch) { copies.append(standby.memory.copy()) }
            copies.append(standby.memory.copy())
            let new = ImageContents(standby.image)
            #expect(new.epoch == epoch)
            #expect(copies.count > 5)
            for copy in copies { #expect(ImageContents(try copy.adopt()) == new) }
        }
    }

    @Test func memoryThatIsNoImageIsRefused() throws {
        let memory = ImageMemory(pageCount: 16, epochBuffer: 4096)
        #expect(throws: ImageError.self) { try memory.adopt() }
    }
}
