import Checkpoint
import Testing
import XenStream

/// A snapshot has one committed epoch, whatever is applied while it is read.
@Suite struct ImageSnapshotTests {
    let sample = SampleStream(.hvmWithEmulator, pages: 40, checkpoints: 5, seed: 4)
    let epochs: [[UInt8]]
    let standby: ImageStandby

    init() throws {
        epochs = sample.epochs()
        standby = try ImageStandby(.hvm, pages: 40)
        try standby.commit(epochs[0], epoch: 0)
        try standby.commit(epochs[1], epoch: 1)
    }

    /// The pages of a snapshot, `between` called after each piece of `batch` pages.
    static func pages(
        _ snapshot: ImageSnapshot,
        batch: Int,
        between: () throws -> Void
    ) throws -> [UInt64: [UInt8]] {
        let entries = UnsafeMutableBufferPointer<PageEntry>.allocate(capacity: batch)
        let contents = UnsafeMutableRawBufferPointer.allocate(
            byteCount: batch * guestPageSize,
            alignment: 16
        )
        defer {
            entries.deallocate()
            contents.deallocate()
        }
        var pages: [UInt64: [UInt8]] = [:]
        while true {
            let (count, _) = try snapshot.next(entries: entries, contents: contents)
            guard count > 0 else { return pages }
            var place = 0
            for entry in entries[..<count] where entry.type.carriesData {
                pages[entry.pfn] = Array(contents[place..<place + guestPageSize])
                place += guestPageSize
            }
            try between()
        }
    }

    func expected() -> [UInt64: [UInt8]] {
        var pages: [UInt64: [UInt8]] = [:]
        for pfn in 0..<40 where standby.image.holdsData(pfn) {
            pages[UInt64(pfn)] = Array(standby.image.page(pfn))
        }
        return pages
    }

    @Test func readsItsEpochWhileNewerOnesAreApplied() throws {
        let expected = expected(), state = Array(standby.image.state)
        let snapshot = try ImageSnapshot(of: standby.image, limit: 100)
        var next = 2
        let pages = try ImageSnapshotTests.pages(snapshot, batch: 7) {
            guard next < epochs.count else { return }
            try standby.commit(epochs[next], epoch: UInt64(next))
            next += 1
        }
        #expect(next == epochs.count)
        #expect(snapshot.epoch == 1)
        #expect(snapshot.state == state)
        #expect(pages == expected)
        #expect(self.expected() != expected)
    }

    @Test func betweenSealAndApplyItIsTheAppliedEpoch() throws {
        let expected = expected(), state = Array(standby.image.state)
        try standby.receive(epochs[2], epoch: 2)
        try standby.seal(2)
        let snapshot = try ImageSnapshot(of: standby.image, limit: 100)
        #expect(snapshot.epoch == 1)
        #expect(snapshot.state == state)
        try standby.image.applySealed(2) {}
        #expect(try ImageSnapshotTests.pages(snapshot, batch: 9) {} == expected)
    }

    @Test func aReaderThatIsTooSlowFailsAndTheImageGoesOn() throws {
        var snapshot: ImageSnapshot? = try ImageSnapshot(of: standby.image, limit: 2)
        for epoch in 2..<5 { try standby.commit(epochs[epoch], epoch: UInt64(epoch)) }
        #expect(throws: ImageError.self) {
            try snapshot.map { try ImageSnapshotTests.pages($0, batch: 8) {} }
        }
        snapshot = nil
        let undisturbed = try ImageStandby(.hvm, pages: 40)
        for (epoch, bytes) in epochs.enumerated() { try undisturbed.commit(bytes, epoch: UInt64(epoch)) }
        #expect(ImageContents(standby.image) == ImageContents(undisturbed.image))
        let again = try ImageSnapshot(of: standby.image, limit: 2)
        #expect(try ImageSnapshotTests.pages(again, batch: 8) {} == expected())
    }

    @Test func oneAtATime() throws {
        let first = try ImageSnapshot(of: standby.image, limit: 2)
        #expect(throws: ImageError.self) { try ImageSnapshot(of: standby.image, limit: 2) }
        withExtendedLifetime(first) {}
    }
}
