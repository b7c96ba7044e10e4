import Checkpoint
import Daemon
import Glibc
import SystemSupport

/// A pair whose footprint is looked at, of which the primary's side is a process of its own too: allocations are counted from the
/// start of a process on, and what it takes is the pair's alone. It plays one order, which it is told in a line.
enum FootprintRole {
    static let word = "footprint"
    /// From suspend to suspend: what goes by the clock, such as heartbeats, has its share in a run.
    private static let interval = TimeSpan.milliseconds(25)

    /// Plays it, and says what was found.
    static func run(_ link: LinkKind, countedIn folder: String) throws {
        Signals.ignore([SIGPIPE])
        let lines = LineChannel(Descriptor(owning: HelperProcess.control), to: "the benchmark")
        guard let line = try lines.hear(seconds: 86_400) else { return }
        let order = try ControlJSON.decode(FootprintOrder.self, from: Array(line.utf8))
        let found = try measure(order, link, folder)
        try lines.say(String(decoding: ControlJSON.encode(found), as: UTF8.self))
    }

    private static func measure(_ order: FootprintOrder, _ link: LinkKind, _ folder: String) throws
        -> Footprint
    {
        guard let encoding = EncodingChoice(rawValue: order.encoding) else {
            throw BenchError("there is no encoding '\(order.encoding)'")
        }
        let watch = AllocationWatch(warmUp: order.warmUp, epochs: order.epochs, told: order.told)
        let pair = try EnginePair(
            link,
            pages: order.guestPages,
            filled: order.guestPages,
            interval: interval,
            encoding: encoding,
            watch: watch
        )
        defer { pair.end() }
        watch.primary = try AllocationCounter(of: getpid(), in: folder)
        watch.standby = try AllocationCounter(of: pair.standbyPID, in: folder)
        let epochs = order.warmUp + order.epochs
        _ = try pair.play(EpochOrder(pages: order.pages, epochs: epochs, seed: 61, rest: 0))
        let counted = watch.counted
        let resident = try ResidentMemory.own() - order.guestPages * guestPageSize
        let standbyResident = try pair.standbyResident()
        try pair.checkImage()
        return Footprint(
            primary: side(counted.primary, resident),
            standby: side(counted.standby, standbyResident)
        )
    }

    private static func side(_ count: AllocationCounter.Count, _ resident: Int) -> Footprint.Side {
        Footprint.Side(
            allocations: count.allocations,
            allocatedBytes: count.bytes,
            resident: resident
        )
    }
}
