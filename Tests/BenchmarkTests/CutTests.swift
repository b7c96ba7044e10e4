import Checkpoint
import Daemon
import Testing
import Transport
import XenStream

@testable import Benchmark

/// A stream that is cut at its records' boundaries, and what is found at the standby then.
@Suite(.timeLimit(.minutes(2))) struct CutTests {
    private static let pages = 24
    private let sample = SampleStream(.hvmWithEmulator, pages: pages, checkpoints: 6, seed: 3)

    /// Could start any guest.
    private struct Willing: GuestActivator {
        func runningGuest(named name: String, uuid: GuestUUID, unfinished: UnfinishedStart?)
            -> ActivatedGuest?
        {
            nil
        }
        func outlook(for description: GuestDescription) -> ActivationOutlook { ActivationOutlook() }
        func missingResources(for request: ActivationRequest) -> [String] { [] }
        func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest {
            throw GuestError(guest: request.description.name, reason: "nobody asked for that")
        }
    }

    private func cut(_ stream: RecordedStream) throws -> StreamCutter.Outcome {
        let directory = try TemporaryDirectory()
        let host = try StandbyHost(
            Paths(runtime: directory.path, state: directory.path),
            .plaintext,
            activator: Willing(),
            hooks: directory.path + "/no-hooks"
        )
        defer { host.stop() }
        return try StreamCutter(stream, memory: Self.pages * guestPageSize, at: host).run()
    }

    @Test func aStreamIsTakenApartAtItsRecords() throws {
        let stream = try RecordedStream(sample.bytes())
        try #require(stream.epochs.count == 6)
        var places = [0]
        for piece in sample.pieces() { places.append((places.last ?? 0) + piece.count) }
        #expect(stream.epochs.first?.boundaries.first == 0)
        #expect(stream.epochs.last?.boundaries.last == places.last)
        for (before, epoch) in zip(stream.epochs, stream.epochs.dropFirst()) {
            let (start, end) = (try #require(epoch.boundaries.first), try #require(epoch.boundaries.last))
            #expect(before.boundaries.last == start)
            #expect(epoch.boundaries == places.filter { (start...end).contains($0) })
            #expect(before.content != epoch.content)
        }
        // One that ends in the middle has so much less.
        #expect(try RecordedStream(sample.bytes().dropLast(3)).epochs.count == 5)
    }

    @Test func whatTheGuestIsFollowsFromTheStream() throws {
        let content = try #require(try RecordedStream(sample.bytes()).epochs.first?.content)
        var memory = MemoryDigest()
        for pfn in 0..<UInt64(Self.pages) where sample.type(pfn) == .normal {
            let page = [UInt8](repeating: sample.fill(pfn, epoch: 0), count: guestPageSize)
            page.withUnsafeBytes { memory.add(Int(pfn), $0) }
        }
        #expect(content.memory == memory)
        #expect(!content.state.isEmpty && !content.devices.isEmpty)
    }

    @Test func eachCutLeavesTheLastWholeEpoch() throws {
        let stream = try RecordedStream(sample.bytes())
        let outcome = try cut(stream)
        #expect(outcome.wrong == [])
        #expect(outcome.cuts == stream.epochs.map { $0.boundaries.count + 1 }.reduce(0, +))
    }

    @Test func anImageThatIsNoEpochIsFound() throws {
        var stream = try RecordedStream(sample.bytes())
        try #require(stream.epochs.count == 6)
        // Epoch 2 as it would be with another epoch's state, and epoch 4 with another's memory.
        stream.epochs[2].content.state = stream.epochs[1].content.state
        stream.epochs[4].content.memory = stream.epochs[3].content.memory
        let outcome = try cut(stream)
        // When it has come whole, and until the next one has.
        let expected = 2 + stream.epochs[3].boundaries.count + stream.epochs[5].boundaries.count
        #expect(outcome.wrong.count == expected)
    }
}
