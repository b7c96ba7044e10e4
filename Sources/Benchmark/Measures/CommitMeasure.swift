/// B2: how fast epochs of 1024 pages become committed: pages over the time from the suspend to the ack.
struct CommitMeasure: Measure {
    let id = MeasureID.b2

    private static let pages = 1024
    private static let guestPages = 1 << 18

    func rows(_ bench: Bench) throws -> [Row] {
        var rows: [Row] = []
        for link in LinkKind.allCases {
            bench.say("over a \(link.title)")
            let sides = try SideBySide(
                bench,
                id,
                link,
                pages: Self.guestPages,
                filled: Self.guestPages / 4,
                withSocket: true
            )
            defer { sides.end() }
            let samples = try sides.measure(pages: Self.pages, epochs: bench.epochs(200), seed: 21)
            rows += Self.rows(link, samples, beside: sides.socket?.name)
        }
        return rows
    }

    private static func rows(_ link: LinkKind, _ samples: SideBySide.Samples, beside limit: String?) -> [Row]
    {
        func rate(_ times: [Double]) -> Percentiles? {
            Percentiles(times.map { Double(pages) / ($0 / 1e6) }, in: .pagesPerSecond)
        }
        guard let ours = rate(samples.ours.map(\.commit)) else { return [] }
        let title = "\(pages) pages, \(link.title)"
        let socket = rate(samples.socket).flatMap { figure in limit.map { Beside($0, figure) } }
        let share = link == .tls ? 0.8 : 0.7
        var rows = [Row(.b2, title, .pagesPerSecond, ours, beside: socket, bar: .ratio(.atLeast, share))]
        if link != .tls {
            let peer = rate(samples.peer.map(\.commit)).map { Beside(PeerPair.name, $0) }
            rows.insert(Row(.b2, title, .pagesPerSecond, ours, beside: peer, bar: .ratio(.atLeast, 1)), at: 0)
        }
        return rows
    }
}
