import Checkpoint

/// Which epoch is cut and not released yet: one at most, which no order can make two.
package enum ClosedEpoch: Equatable, Sendable {
    /// None. `released` is the one released last, until an order of another kind.
    case nothing(released: UInt64? = nil)
    /// This one.
    case one(UInt64)
    /// Output is dropped: there are no epochs any more.
    case dropping

    /// Closes an epoch. The same one again is no other.
    package mutating func cut(_ epoch: UInt64) throws(PlugRefusal) {
        switch self {
        case .dropping: throw .dropping
        case .one(let closed) where closed != epoch: throw .alreadyCut(closed: closed)
        case .one, .nothing: self = .one(epoch)
        }
    }

    /// Whether there is anything to let go for a release of `epoch`; not if it was released already.
    package func mayRelease(_ epoch: UInt64) throws(PlugRefusal) -> Bool {
        switch self {
        case .dropping: throw .dropping
        case .one(epoch): return true
        case .nothing(released: epoch): return false
        case .one(let closed): throw .notCut(epoch: epoch, closed: closed)
        case .nothing: throw .notCut(epoch: epoch, closed: nil)
        }
    }
}
