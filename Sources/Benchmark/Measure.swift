/// Something to measure: sets up what it needs, measures ours and what stands beside it in turn, takes everything down.
package protocol Measure: Sendable {
    var id: MeasureID { get }

    /// The rows; a part that cannot be had is said to `bench`.
    func rows(_ bench: Bench) throws -> [Row]
}

/// Every measure of this program, in the order in which they run.
package enum Measures {
    package static let all: [any Measure] = [
        PauseMeasure(), CommitMeasure(), BytesMeasure(), DeltaMeasure(), LatencyMeasure(), FailoverMeasure(),
        ProcessorMeasure(), RateMeasure(), SyncMeasure(), FootprintMeasure(), SlowdownMeasure(),
    ]
}
