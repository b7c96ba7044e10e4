import Checkpoint
import SystemSupport
import Testing

@testable import Benchmark

@Suite(.timeLimit(.minutes(2))) struct ProcessorTests {
    @Test func aMeanIsOfTheCheckpointsThatWereCounted() {
        let times = ProcessorTimes(primary: 9_000_000, standby: 5_000_000, epochs: 10)
        #expect(times.primary == 1000 && times.standby == 500)
        // None was counted.
        #expect(ProcessorTimes(primary: 0, standby: 0, epochs: 0).primary == 0)
    }

    @Test func bothSidesHaveARowForACheckpointAndOneForAPage() throws {
        let ours = [ProcessorTimes(primary: 2_560_000, standby: 5_120_000, epochs: 2)]
        let peer = [ProcessorTimes(primary: 5_120_000, standby: 1_024_000, epochs: 2)]
        let rows = ProcessorMeasure.rows(pages: 256, .tcp, ours, beside: peer)
        #expect(
            rows.map(\.unit) == [.microseconds, .microsecondsPerPage, .microseconds, .microsecondsPerPage]
        )
        #expect(rows.map(\.ours.p10) == [2560, 10, 2560, 10])
        #expect(rows.map { $0.beside?.figure.p10 } == [5120, 20, 512, 2])
        #expect(
            rows.map { $0.beside?.name } == [PeerPair.name, PeerPair.name, "reading alone", "reading alone"]
        )
        #expect(rows.allSatisfy { $0.verdict == .reported && $0.measure == .b7 })
        let alone = ProcessorMeasure.rows(pages: 256, .tcp, ours, beside: [])
        #expect(alone.count == 4 && alone.allSatisfy { $0.beside == nil })
    }

    /// Uses up processor time on the calling thread: nanoseconds, at least.
    private func work(_ time: UInt64) {
        let end = Clock.thread + time
        while Clock.thread < end {}
    }

    @Test func whatTheGuestDoesIsNotCounted() {
        let watch = ProcessorWatch()
        let began = Clock.process
        watch.acknowledged(1)
        #expect(watch.taken == 0)
        work(20_000_000)
        watch.guestRuns()
        work(100_000_000)
        watch.guestRan()
        work(20_000_000)
        watch.acknowledged(2)
        // Other tests, on other threads of this process, may have added to it.
        #expect(watch.taken >= 39_000_000)
        #expect(watch.taken <= Clock.process - began - 99_000_000)
        // A new order begins anew.
        watch.acknowledged(1)
        #expect(watch.taken == 0)
    }

    @Test func thePeerTellsWhatItTook() throws {
        let directory = try TemporaryDirectory()
        let program = directory.path + "/peer"
        let text = #"""
            #!/bin/sh
            echo ready >&3
            read -r order <&3
            [ "$order" = "play 7 3 9 2000" ] && printf '%s\n' "sample 5 8" "sample 6 9" "sample 7 9" "played 4000 9000" >&3
            read -r order <&3

            """#
        try SmallFile.replace(program, with: Array(text.utf8), mode: 0o700)
        let peer = try PeerPair(program, .tcp, pages: 64, filled: 64, .here)
        defer { peer.end() }
        #expect(peer.processor == nil)
        let samples = try peer.play(EpochOrder(pages: 7, epochs: 3, seed: 9))
        #expect(samples.map(\.resumed) == [5, 6, 7])
        #expect(peer.processor == ProcessorTimes(primary: 4000, standby: 9000, epochs: 3))
        #expect(peer.processor?.primary == 2 && peer.processor?.standby == 3)
        withExtendedLifetime(directory) {}
    }

    @Test func anOrderIsCountedOnBothSides() throws {
        let watch = ProcessorWatch()
        let pair = try SidePair(BenchGuest(pages: 4096, filled: 1024), watch: watch)
        defer { pair.end() }
        let (host, side) = (pair.host, pair.side)
        _ = try side.play(EpochOrder(pages: 500, epochs: 1, seed: 1, rest: 0))
        #expect(watch.taken == 0)
        let before = Clock.process
        _ = try side.play(EpochOrder(pages: 500, epochs: 10, seed: 2, rest: 0))
        #expect(watch.taken > 0 && watch.taken < Clock.process - before)
        let image = try host.settle()
        #expect(image.appliedEpoch == image.epoch)
        #expect(try host.digest() == side.digest)
    }
}
