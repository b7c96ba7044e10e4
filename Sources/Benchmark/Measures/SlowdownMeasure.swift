import Checkpoint
import Glibc

/// B11: how much of what a guest can do is left to it while it is protected.
struct SlowdownMeasure: Measure {
    let id = MeasureID.b11

    private static let guestPages = 1 << 18
    /// Written in each epoch, however long it is.
    private static let pages = 1024
    /// Checkpoints a second.
    private static let rates: [UInt64] = [10, 20, 40]
    /// What there must be of them, at least; fewer, and it was another rate.
    private static let share = 0.9
    /// How far from `pages` an epoch may be.
    private static let tolerance = 0.01

    func rows(_ bench: Bench) throws -> [Row] {
        var rows: [Row] = []
        let rounds = bench.options.isShort ? 2 : 5
        for seat in GuestSeat.allCases {
            var samples = Self.rates.map { _ in [SlowdownSample]() }
            for round in 1...rounds {
                bench.say("the guest \(seat.title), round \(round) of \(rounds)")
                for (index, rate) in Self.rates.enumerated() {
                    samples[index].append(try Self.sample(rate, seat))
                }
            }
            for (rate, samples) in zip(Self.rates, samples) {
                do {
                    rows.append(try Self.row(rate, seat, samples))
                } catch {
                    bench.miss(id, "\(error)")
                }
            }
        }
        return rows
    }

    /// A new guest, first by itself, then protected.
    private static func sample(_ rate: UInt64, _ seat: GuestSeat) throws -> SlowdownSample {
        let placement = Placement.here
        let guest = try LoopGuest(
            pages: guestPages,
            filled: guestPages / 4,
            writing: pages,
            on: seat.guest(placement)
        )
        defer { guest.end() }
        let free = watch(guest, milliseconds: 1000)
        let pair = try EnginePair(
            .tcp,
            of: { guest },
            interval: .microseconds(1_000_000 / rate),
            seat.sides(placement)
        )
        defer { pair.end() }
        let protected = watch(guest, milliseconds: 2000)
        try guest.rest()
        try pair.checkImage()
        return SlowdownSample(free: free, protected: protected)
    }

    /// Lets some time go by until it runs as it does, then so much more.
    private static func watch(_ guest: LoopGuest, milliseconds: UInt32)
        -> (from: LoopGuest.Count, to: LoopGuest.Count)
    {
        usleep(200_000)
        let from = guest.count
        usleep(milliseconds * 1000)
        return (from, guest.count)
    }

    static func row(_ rate: UInt64, _ seat: GuestSeat, _ samples: [SlowdownSample]) throws -> Row {
        let unit = Unit.operationsPerSecond
        guard let then = Percentiles(samples.map(\.then), in: unit),
            let before = Percentiles(samples.map(\.before), in: unit)
        else { throw BenchError("nothing was measured at \(rate) checkpoints a second") }
        for sample in samples where sample.checkpoints < share * Double(rate) {
            throw BenchError(
                "the guest \(seat.title): there were \(Figure.text(sample.checkpoints)) checkpoints a second, not \(rate)"
            )
        }
        for sample in samples where abs(sample.pages / Double(pages) - 1) > tolerance {
            throw BenchError(
                "the guest \(seat.title): an epoch had \(Figure.text(sample.pages)) dirty pages, not \(pages)"
            )
        }
        return Row(
            .b11,
            "\(rate) checkpoints/s of \(pages) pages, guest \(seat.title)",
            unit,
            then,
            beside: Beside("not protected", before)
        )
    }
}
