import Checkpoint
import Daemon

/// B9: how fast all of a guest's memory gets to the standby: its bytes, pages of zeros included, over the time from the order
/// to protect it to the first commit.
struct SyncMeasure: Measure {
    let id = MeasureID.b9

    /// How pages travel on which link.
    struct Case {
        let link: LinkKind
        let encoding: EncodingChoice

        var title: String { "1 GiB, 60 % zeros, \(link.title), \(encoding == .delta ? "encoded" : "plain")" }
    }

    static let cases = [
        Case(link: .unix, encoding: .delta), Case(link: .tcp, encoding: .delta),
        Case(link: .unix, encoding: .plain), Case(link: .tcp, encoding: .plain),
    ]
    private static let mib = 1024
    private static let zeros = ZeroPages(percent: 60)

    func rows(_ bench: Bench) throws -> [Row] {
        var migration = bench.tool(QemuMigration.program, for: id).map {
            QemuMigration(path: $0, placement: .here)
        }
        var ours = Self.cases.map { _ in [Double]() }
        var theirs: [Double] = []
        let rounds = bench.options.isShort ? 2 : 5
        for round in 1...rounds {
            bench.say("round \(round) of \(rounds)")
            for (index, each) in Self.cases.enumerated() { ours[index].append(Self.rate(try sync(each))) }
            do {
                if let migration {
                    theirs.append(Self.rate(try migration.migrate(mib: Self.mib, Self.zeros)))
                }
            } catch {
                bench.miss(id, "\(error)")
                migration = nil
            }
        }
        return zip(Self.cases, ours).flatMap { Self.rows($0, $1, beside: theirs) }
    }

    /// A new pair's first sync, in seconds.
    private func sync(_ each: Case) throws -> Double {
        let pages = (Self.mib << 20) / guestPageSize
        let pair = try EnginePair(
            each.link,
            pages: pages,
            filled: pages,
            zeros: Self.zeros,
            interval: .milliseconds(25),
            encoding: each.encoding
        )
        defer { pair.end() }
        try pair.checkImage()
        return pair.syncTime / 1e6
    }

    /// GB/s.
    private static func rate(_ seconds: Double) -> Double { Double(mib << 20) / seconds / 1e9 }

    /// QEMU encodes pages of zeros by itself, and its link is a unix socket.
    static func rows(_ each: Case, _ ours: [Double], beside theirs: [Double]) -> [Row] {
        let unit = Unit.gigabytesPerSecond
        guard let rate = Percentiles(ours, in: unit) else { return [] }
        let isEncoded = each.encoding == .delta
        var rows = [Row(.b9, each.title, unit, rate, bar: isEncoded ? .value(.atLeast, 2) : nil)]
        if each.link == .unix {
            let peer = Percentiles(theirs, in: unit).map { Beside(QemuMigration.name, $0) }
            rows.append(
                Row(.b9, each.title, unit, rate, beside: peer, bar: isEncoded ? .ratio(.atLeast, 1) : nil)
            )
        }
        return rows
    }
}
