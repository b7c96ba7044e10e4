/// What can be measured. The numbers are those of docs/performance.md.
package enum MeasureID: String, CaseIterable, Codable, Sendable {
    case b1 = "B1"
    case b2 = "B2"
    case b3 = "B3"
    case b4 = "B4"
    case b5 = "B5"
    case b6 = "B6"
    case b7 = "B7"
    case b8 = "B8"
    case b9 = "B9"
    case b10 = "B10"
    case b11 = "B11"

    /// In a few words, what it is.
    package var title: String {
        switch self {
        case .b1: "pause of a checkpoint"
        case .b2: "commit throughput"
        case .b3: "bytes of a dirty page"
        case .b4: "delta encoding"
        case .b5: "output latency"
        case .b6: "failover"
        case .b7: "processor time of a checkpoint"
        case .b8: "sustained checkpoints"
        case .b9: "initial sync"
        case .b10: "footprint"
        case .b11: "slowdown of the guest"
        }
    }
}
