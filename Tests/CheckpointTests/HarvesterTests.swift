import Testing
import XenStream

@testable import Checkpoint

/// From a guest's memory to the standby's: what the harvester stages is what the assembler takes.
@Suite struct HarvesterTests {
    private final class Pair {
        let guest: MemoryGuest
        let standby: ImageStandby
        let memory: UnsafeMutableRawBufferPointer
        var harvester: Harvester

        init(pages: Int, staging: Int? = nil) throws {
            guest = MemoryGuest(pages: pages)
            let size = Staging.capacity(pages: staging ?? max(pages, Staging.batch), stateCapacity: 8192)
            memory = .allocate(byteCount: size, alignment: 16)
            harvester = Harvester(guest: guest, memory: memory, stateCapacity: 8192)
            standby = try ImageStandby(.hvm, pages: pages, epochBuffer: 4 * size)
        }

        deinit { memory.deallocate() }

        /// Sends a round of pages while the guest runs; `between` is called before each piece.
        func sync(_ epoch: UInt64, whole: Bool, between: () -> Void = {}) throws {
            try harvester.beginSync(epoch: epoch, whole: whole)
            while case .piece = try step(between) {
                try standby.receive(Array(harvester.bytes), epoch: epoch)
            }
        }

        private func step(_ between: () -> Void) throws -> Harvester.SyncStep? {
            between()
            return try harvester.nextSyncStep()
        }

        func checkpoint(_ epoch: UInt64) throws -> HarvestResult {
            let result = harvester.harvest { false }
            guard case .whole = result else { return result }
            harvester.cut()
            try standby.receive(Array(harvester.bytes), epoch: epoch)
            try standby.commit(epoch)
            harvester.committed()
            return result
        }

        /// Begins: tracking, epoch 0.
        func begin() throws {
            try harvester.startTracking()
            try sync(0, whole: true)
            _ = try checkpoint(0)
        }

        func expectEqual() {
            for pfn in guest.pages.indices {
                #expect(Array(standby.image.page(pfn)) == guest.pages[pfn], "page \(pfn)")
            }
        }
    }

    @Test func theDeviceModelsStateIsInEachEpochAndInTheImage() throws {
        let pair = try Pair(pages: 8)
        for number in 1...3 as ClosedRange<UInt8> {
            let devices = [UInt8](repeating: number, count: 1001)
            pair.guest.devices = devices
            pair.guest.write(Int(number), number)
            if number == 1 {
                try pair.harvester.startTracking()
                try pair.sync(0, whole: true)
            }
            #expect(try pair.checkpoint(UInt64(number) - 1) == .whole(pages: number == 1 ? 0 : 1))
            // EMULATOR_XENSTORE_DATA, then EMULATOR_CONTEXT: header, id and index, content.
            let records = Array(pair.standby.image.emulator)
            #expect(records.starts(with: [2, 0, 0, 0]))
            #expect(
                records.suffix(8 + 8 + 1001 + 7).starts(with: [
                    3, 0, 0, 0, 0xF1, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
                ])
            )
            #expect(records.dropLast(7).suffix(1001) == devices[...])
        }
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func everyCommitIsTheGuestAtItsSuspend(_ seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let pair = try Pair(pages: 96)
        for _ in 0..<20 {
            pair.guest.write(Int.random(in: 0..<96, using: &random), .random(in: 1...255, using: &random))
        }
        try pair.harvester.startTracking()
        try pair.sync(0, whole: true) {
            // The guest runs meanwhile.
            pair.guest.write(Int.random(in: 0..<96, using: &random), .random(in: 0...255, using: &random))
        }
        _ = try pair.checkpoint(0)
        pair.expectEqual()
        for epoch in 1...8 as ClosedRange<UInt64> {
            for _ in 0..<Int.random(in: 0...30, using: &random) {
                pair.guest.write(Int.random(in: 0..<96, using: &random), .random(in: 0...255, using: &random))
            }
            if epoch % 3 == 0 { try pair.sync(epoch, whole: false) }
            _ = try pair.checkpoint(epoch)
            pair.expectEqual()
            #expect(pair.standby.image.epoch == epoch)
        }
    }

    @Test func holesStayHolesAndAreKnown() throws {
        let pair = try Pair(pages: 64)
        pair.guest.write(3, 9)
        try pair.begin()
        #expect(pair.standby.image.populatedPages == 1)
        #expect(pair.standby.image.type(of: 3) == .normal && pair.standby.image.type(of: 4) == .allocateOnly)
        #expect(pair.harvester.syncTotal == 1)
    }

    @Test func anAbandonedCheckpointLosesNoPage() throws {
        let pair = try Pair(pages: 64)
        try pair.begin()
        pair.guest.write(1, 1)
        #expect(pair.harvester.harvest { true } == .late)
        pair.guest.write(2, 2)
        pair.guest.failsToCopy = true
        #expect(try pair.checkpoint(1) == .failed("guest memory: no page"))
        pair.guest.failsToCopy = false
        #expect(try pair.checkpoint(1) == .whole(pages: 2))
        pair.expectEqual()
    }

    @Test func whatWasSentOnALostConnectionIsDirtyAgain() throws {
        let pair = try Pair(pages: 64)
        try pair.begin()
        pair.guest.write(5, 5)
        try pair.sync(1, whole: false)
        // The connection is gone, and with it half an epoch.
        pair.harvester.endSync()
        pair.harvester.requeueSentPages()
        try pair.standby.rewind()
        #expect(try pair.checkpoint(1) == .whole(pages: 1))
        pair.expectEqual()
    }

    /// The epoch was cut; part of it went while the guest ran, and what came of it is not known.
    @Test func anEpochThatIsTakenBackIsDirtyAsAWhole() throws {
        let pair = try Pair(pages: 64)
        try pair.begin()
        pair.guest.write(5, 5)
        try pair.sync(1, whole: false)
        pair.guest.write(6, 6)
        #expect(pair.harvester.harvest { false } == .whole(pages: 1))
        pair.harvester.cut()
        pair.harvester.requeueSentPages()
        try pair.standby.rewind()
        pair.guest.write(7, 7)
        #expect(try pair.checkpoint(1) == .whole(pages: 3))
        pair.expectEqual()
        #expect(try pair.checkpoint(2) == .whole(pages: 0))
    }

    @Test func aRoundThatBeganOnALostConnectionEndsWithIt() throws {
        let pair = try Pair(pages: 64)
        try pair.begin()
        pair.guest.write(5, 5)
        try pair.harvester.beginSync(epoch: 1, whole: false)
        pair.harvester.requeueSentPages()
        let isSyncing = pair.harvester.isSyncing
        #expect(!isSyncing)
        let step = try pair.harvester.nextSyncStep()
        #expect(step == nil)
        #expect(try pair.checkpoint(1) == .whole(pages: 1))
        pair.expectEqual()
    }

    /// Staging for all of the guest holds all of the guest.
    @Test(arguments: [1024, 1500]) func everyPageFits(_ count: Int) throws {
        let pair = try Pair(pages: count, staging: count)
        try pair.harvester.startTracking()
        try pair.sync(0, whole: true)
        for pfn in 0..<count { pair.guest.write(pfn, 3) }
        #expect(try pair.checkpoint(0) == .whole(pages: count))
        pair.expectEqual()
    }

    @Test func aRoundWaitsForPagesThatTheGuestHasNotGotYet() throws {
        let pair = try Pair(pages: 3000)
        for pfn in 0..<3000 { pair.guest.write(pfn, 1) }
        try pair.harvester.startTracking()
        pair.guest.available = nil
        try pair.harvester.beginSync(epoch: 0, whole: true)
        var waits = 0
        // Neither the start, nor the second record's pages, are there at first.
        while let step = try pair.harvester.nextSyncStep() {
            switch step {
            case .piece: try pair.standby.receive(Array(pair.harvester.bytes), epoch: 0)
            case .wait:
                waits += 1
                let isSyncing = pair.harvester.isSyncing
                #expect(isSyncing)
                let again = try pair.harvester.nextSyncStep()
                #expect(again == .wait)
                pair.guest.available = waits == 1 ? 1500 : .max
            case .done(let pages): #expect(pages == 3000)
            }
        }
        #expect(waits == 2)
        // A suspended guest is not asked: its pages are there.
        pair.guest.write(9, 9)
        pair.guest.available = nil
        _ = try pair.checkpoint(0)
        pair.expectEqual()
    }

    @Test func moreThanStagingHoldsIsSaidAndNotStaged() throws {
        let pair = try Pair(pages: 2048, staging: Staging.batch)
        try pair.begin()
        for pfn in 0..<1500 { pair.guest.write(pfn, 3) }
        #expect(try pair.checkpoint(1) == .overCapacity(pages: 1500))
        // A round while the guest runs makes room.
        try pair.sync(1, whole: false)
        pair.guest.write(1999, 4)
        #expect(try pair.checkpoint(1) == .whole(pages: 1))
        pair.expectEqual()
    }
}
