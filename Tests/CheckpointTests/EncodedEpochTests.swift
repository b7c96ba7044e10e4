import Glibc
import Testing
import XenStream

@testable import Checkpoint

/// A guest's memory, encoded on the way to a standby's image: a guest, its harvester, an encoder with a shadow, and an image.
final class EncodedPair {
    let guest: MemoryGuest
    private(set) var standby: ImageStandby
    let encoder: PageEncoder
    private let staging: UnsafeMutableRawBufferPointer
    private let shadow: UnsafeMutableRawPointer?
    var harvester: Harvester
    /// Bytes of the stream, and of the frames' bodies.
    private(set) var plain = 0, encoded = 0
    private(set) var epoch: UInt64 = 0

    init(pages: Int, _ encodings: PageEncodings = .all, warm: Bool = false) throws {
        guest = MemoryGuest(pages: pages)
        let size = Staging.capacity(pages: max(pages, Staging.batch), stateCapacity: 8192)
        staging = .allocate(byteCount: size, alignment: 16)
        harvester = Harvester(guest: guest, memory: staging, stateCapacity: 8192)
        standby = try ImageStandby(.hvm, pages: pages, epochBuffer: 4 * size)
        standby.image.isWarm = warm
        let memory = UnsafeMutableRawBufferPointer(
            start: calloc(pages, guestPageSize),
            count: pages * guestPageSize
        )
        shadow = memory.baseAddress
        let shadowed = PageShadow(memory: memory, pageCount: pages)
        shadowed.restart()
        encoder = PageEncoder(encodings, shadow: shadowed)
    }

    deinit {
        staging.deallocate()
        free(shadow)
    }

    /// Sends what is staged; `lost`: the connection is lost after so many frames.
    func send(lostAfter lost: Int = .max) throws {
        encoder.begin(harvester.bytes, records: harvester.records)
        var position = 0
        var frames = 0
        while position < harvester.bytes.count, frames < lost {
            let (body, count) = encoder.next()
            #expect(body.count <= Int(FrameHeader.dataLimit))
            let bytes = UnsafeRawBufferPointer(rebasing: harvester.bytes[position..<position + count])
            plain += count
            encoded += body.count
            position += count
            frames += 1
            try standby.receive(encoded: Array(body), of: bytes, epoch: epoch)
        }
    }

    func sync(whole: Bool) throws {
        try harvester.beginSync(epoch: epoch, whole: whole)
        while case .piece = try harvester.nextSyncStep() { try send() }
    }

    /// Begins: tracking, epoch 0.
    func begin() throws {
        try harvester.startTracking()
        try sync(whole: true)
        try checkpoint()
    }

    /// Suspends, copies, sends, commits.
    func checkpoint() throws {
        try stage()
        try send()
        try commit()
    }

    func stage() throws {
        guard case .whole = harvester.harvest(isLate: { false }) else {
            throw EncodedFrameError("not staged")
        }
        harvester.cut()
    }

    func commit() throws {
        try standby.commit(epoch)
        acknowledge()
    }

    func acknowledge() {
        harvester.committed()
        encoder.shadow?.commit()
        epoch += 1
    }

    /// The standby dies; another one adopts its image.
    func replaceStandby() throws {
        standby = try ImageStandby(adopting: standby.memory.copy())
        encoder.shadow?.beginConnection()
    }

    /// A new connection: the standby stands after the committed epoch again.
    func reconnect() throws {
        try standby.rewind()
        encoder.shadow?.beginConnection()
    }

    func expectEqual(_ location: SourceLocation = #_sourceLocation) {
        for pfn in guest.pages.indices where Array(standby.image.page(pfn)) != guest.pages[pfn] {
            Issue.record("page \(pfn) differs after epoch \(epoch)", sourceLocation: location)
        }
    }

    /// Writes like a guest: a few words, a byte, zeros, text, noise, or the same again.
    func write(_ random: inout SplitMix) {
        let pfn = Int.random(in: guest.pages.indices, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: guest.pages[pfn] = [UInt8](repeating: 0, count: guestPageSize)
        case 1: guest.pages[pfn][Int.random(in: 0..<guestPageSize, using: &random)] &+= 1
        case 2:
            for _ in 0..<8 {
                let word = Int.random(in: 0..<512, using: &random) * 8
                for byte in word..<word + 8 { guest.pages[pfn][byte] = .random(in: 0...255, using: &random) }
            }
        case 3:
            let text = Array("page \(pfn) of a guest that writes text. ".utf8)
            guest.pages[pfn] = (0..<guestPageSize).map { text[$0 % text.count] }
        case 4: guest.pages[pfn] = (0..<guestPageSize).map { _ in .random(in: 0...255, using: &random) }
        default: break
        }
        guest.written.insert(pfn)
    }
}

/// What the standby decodes is the plain stream, whatever the guest wrote and whatever became of the connection.
@Suite struct EncodedEpochTests {
    /// Of noise few pages are tried; what comes after it is soon packed again.
    @Test func noiseIsNotTriedForLong() throws {
        let pair = try EncodedPair(pages: 180)
        var random = SplitMix(state: 3)
        for pfn in 0..<180 {
            pair.guest.pages[pfn] = (0..<guestPageSize).map {
                pfn < 100 ? .random(in: 0...255, using: &random) : UInt8($0 % 7 + pfn % 3)
            }
        }
        try pair.begin()
        pair.expectEqual()
        // 31 pages at most go by until one is tried.
        #expect(pair.encoded < 131 * (guestPageSize + 1) + 49 * 200 + 4096)
    }

    @Test(
        arguments: 1...6 as ClosedRange<UInt64>,
        [PageEncodings.all, [.zero, .lz4], [.unchanged, .delta], []]
    )
    func everyCommitIsTheGuestAtItsSuspend(_ seed: UInt64, _ encodings: PageEncodings) throws {
        var random = SplitMix(state: seed)
        let pair = try EncodedPair(pages: 96, encodings)
        for _ in 0..<60 { pair.write(&random) }
        try pair.begin()
        pair.expectEqual()
        for round in 1...10 {
            for _ in 0..<Int.random(in: 0...30, using: &random) { pair.write(&random) }
            // Pages that are sent while the guest runs come twice in one epoch.
            if round % 3 == 0 {
                try pair.sync(whole: false)
                for _ in 0..<10 { pair.write(&random) }
            }
            try pair.checkpoint()
            pair.expectEqual()
        }
        #expect(pair.encoded <= pair.plain + pair.plain * 3 / 1000 + 500)
    }

    @Test func aSmallChangeTakesFewBytes() throws {
        let pair = try EncodedPair(pages: 1024)
        var random = SplitMix(state: 3)
        for pfn in 0..<1024 {
            pair.guest.pages[pfn] = (0..<guestPageSize).map { UInt8(truncatingIfNeeded: $0 * pfn) }
        }
        try pair.begin()
        let before = (pair.plain, pair.encoded)
        try pair.checkpoint()
        let idle = (pair.plain - before.0, pair.encoded - before.1)
        for pfn in 0..<1024 {
            pair.guest.pages[pfn][Int.random(in: 0..<guestPageSize, using: &random)] ^= 1
            pair.guest.written.insert(pfn)
        }
        let between = (pair.plain, pair.encoded)
        try pair.checkpoint()
        // Of each page its tag, its distance from the last, a group, a word, a byte, and the byte.
        #expect(pair.plain - between.0 == idle.0 + 16 + 1024 * (guestPageSize + 8))
        #expect(pair.encoded - between.1 <= idle.1 + 1024 * 6 + 100)
        pair.expectEqual()
    }

    @Test func whatIsNotCompressibleTakesNoMoreThanPlain() throws {
        let pair = try EncodedPair(pages: 512)
        var random = SplitMix(state: 4)
        for epoch in 0..<3 {
            for pfn in 0..<512 {
                pair.guest.pages[pfn] = (0..<guestPageSize).map { _ in .random(in: 0...255, using: &random) }
                pair.guest.written.insert(pfn)
            }
            if epoch == 0 { try pair.begin() } else { try pair.checkpoint() }
        }
        #expect(pair.encoded <= pair.plain + pair.plain * 3 / 1000)
        pair.expectEqual()
    }

    /// An epoch that was sent in part, or whole, and is sent again from staging: what the shadow has is ahead of the image.
    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func anEpochThatIsSentAgainNeedsNoReference(_ seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let pair = try EncodedPair(pages: 300)
        for _ in 0..<200 { pair.write(&random) }
        try pair.begin()
        for round in 0..<12 {
            for _ in 0..<Int.random(in: 1...300, using: &random) { pair.write(&random) }
            try pair.stage()
            if round % 2 == 0 {
                try pair.send(lostAfter: round % 4 == 0 ? 1 : .max)
                try pair.reconnect()
            }
            try pair.send()
            try pair.commit()
            pair.expectEqual()
        }
    }

    /// What was sent while the guest ran, on a connection that is gone, and is not sent again: that page stays unknown.
    @Test func aPageThatWentOnALostConnectionIsNoReferenceLater() throws {
        let pair = try EncodedPair(pages: 64)
        pair.guest.write(5, 5)
        try pair.begin()
        pair.guest.write(5, 6)
        try pair.sync(whole: false)
        pair.harvester.endSync()
        try pair.reconnect()
        // As if its RAM had been taken from the guest meanwhile.
        pair.harvester.committed()
        try pair.checkpoint()
        #expect(Array(pair.standby.image.page(5)) == [UInt8](repeating: 5, count: guestPageSize))
        pair.guest.write(5, 6)
        try pair.checkpoint()
        pair.expectEqual()
    }

    /// A standby that died between seal and apply: the next differences are from what its successor has applied.
    @Test func aSuccessorGoesOnFromTheSealedEpoch() throws {
        var random = SplitMix(state: 9)
        let pair = try EncodedPair(pages: 64)
        for _ in 0..<100 { pair.write(&random) }
        try pair.begin()
        for _ in 0..<30 { pair.write(&random) }
        try pair.stage()
        try pair.send()
        try pair.standby.seal(pair.epoch)
        pair.acknowledge()
        try pair.replaceStandby()
        pair.expectEqual()
        for _ in 0..<3 {
            for _ in 0..<30 { pair.write(&random) }
            try pair.checkpoint()
            pair.expectEqual()
        }
    }

    /// The two sides differ although they should not: refused, then sent again without references, and all is well.
    @Test func aMismatchIsFoundAndTheNextAttemptIsWhole() throws {
        let pair = try EncodedPair(pages: 64)
        for pfn in 0..<64 { pair.guest.write(pfn, UInt8(pfn)) }
        try pair.begin()
        pair.standby.memory.memory[7 * guestPageSize + 100] ^= 1
        pair.guest.pages[7][9] ^= 0xFF
        pair.guest.written.insert(7)
        try pair.stage()
        try pair.send()
        #expect(throws: EpochError.wrongChecksum) { try pair.commit() }
        try pair.reconnect()
        pair.encoder.shadow?.distrust()
        try pair.send()
        try pair.commit()
        pair.expectEqual()
        // Nothing is a reference before it was sent anew: another damaged page makes no second refusal.
        pair.standby.memory.memory[8 * guestPageSize + 100] ^= 1
        pair.guest.pages[8][9] ^= 0xFF
        pair.guest.written.insert(8)
        try pair.checkpoint()
        pair.expectEqual()
    }

    /// An image that is kept in a domain has no memory to compare with.
    @Test func aWarmImageTakesNoDifferences() throws {
        let pair = try EncodedPair(pages: 64, [.zero, .lz4], warm: true)
        #expect(pair.standby.image.encodings == [.zero, .lz4])
        pair.guest.write(1, 1)
        try pair.begin()
        pair.guest.write(1, 2)
        try pair.checkpoint()
        let other = try EncodedPair(pages: 64, .all, warm: true)
        other.guest.write(1, 1)
        other.guest.pages[1][5] = 7
        #expect(throws: EpochError.encoding(EncodedFrameError("a difference from a page that is not here"))) {
            try other.begin()
            other.guest.pages[1][6] = 7
            other.guest.written.insert(1)
            try other.checkpoint()
        }
    }

    @Test func whatDoesNotFitIsRefusedAsForPlain() throws {
        let pair = try EncodedPair(pages: 1024)
        try pair.begin()
        for pfn in 0..<1024 { pair.guest.write(pfn, 0) }
        pair.standby.assembler.limitMemory(1 << 20)
        try pair.stage()
        #expect(throws: EpochError.tooLong(limit: 1 << 20)) { try pair.send() }
    }
}
