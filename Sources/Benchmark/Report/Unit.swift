/// What a figure counts.
package enum Unit: String, Codable, Sendable {
    case microseconds = "us"
    case milliseconds = "ms"
    case pagesPerSecond = "pages/s"
    case gigabytesPerSecond = "GB/s"
    case checkpointsPerSecond = "checkpoints/s"
    case operationsPerSecond = "operations/s"
    case percent = "%"
    case bytesPerPage = "B/page"
    case microsecondsPerPage = "us/page"
    case mebibytes = "MiB"
    case count

    /// Whether more of it is better: then a distribution's first percentile is its largest.
    package var moreIsBetter: Bool {
        switch self {
        case .pagesPerSecond, .gigabytesPerSecond, .checkpointsPerSecond, .operationsPerSecond, .percent: true
        case .microseconds, .milliseconds, .bytesPerPage, .microsecondsPerPage, .mebibytes, .count: false
        }
    }
}
