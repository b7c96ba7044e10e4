/// A request to a plug that its state forbids: at most one epoch is cut and not released (design, "A packet").
package enum PlugRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// Epoch `closed` is cut and not released: there is no room for a second one.
    case alreadyCut(closed: UInt64)
    /// The epoch to release is not the one that is cut (nil: none is).
    case notCut(epoch: UInt64, closed: UInt64?)
    /// Output is being dropped; only `releaseAll` ends that.
    case dropping

    package var description: String {
        switch self {
        case .alreadyCut(let closed): "epoch \(closed) is cut and not released yet"
        case .notCut(let epoch, let closed?):
            "cannot release epoch \(epoch): epoch \(closed) is the one that is cut"
        case .notCut(let epoch, nil): "cannot release epoch \(epoch): no epoch is cut"
        case .dropping: "output is being dropped"
        }
    }
}
