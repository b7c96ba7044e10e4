/// What a guest does, before it is protected and then.
struct SlowdownSample: Equatable, Sendable {
    /// Operations a second.
    let before: Double, then: Double
    /// Commits a second.
    let checkpoints: Double
    /// Dirty pages of an epoch, in the mean.
    let pages: Double

    /// - Parameters:
    ///   - free: a while without protection: its beginning and its end.
    ///   - protected: a while with it.
    init(
        free: (from: LoopGuest.Count, to: LoopGuest.Count),
        protected: (from: LoopGuest.Count, to: LoopGuest.Count)
    ) {
        func rate(_ count: UInt64, _ span: (from: LoopGuest.Count, to: LoopGuest.Count)) -> Double {
            Double(count) / (Double(span.to.moment - span.from.moment) / 1e9)
        }
        let commits = protected.to.commits - protected.from.commits
        before = rate(free.to.operations - free.from.operations, free)
        then = rate(protected.to.operations - protected.from.operations, protected)
        checkpoints = rate(UInt64(commits), protected)
        pages = commits > 0 ? Double(protected.to.pages - protected.from.pages) / Double(commits) : 0
    }
}
