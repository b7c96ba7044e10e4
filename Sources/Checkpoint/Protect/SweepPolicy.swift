/// Whether what is dirty is sent while the guest still runs, just before it is suspended: the pause then copies only what the
/// guest writes meanwhile. For large epochs; of pages that are written again and again it would send each twice.
package struct SweepPolicy: Sendable {
    /// Fewer pages are copied about as fast as a guest is suspended and resumed.
    package static let usual = 2048
    /// Epochs in which it is not tried again after it has saved too little.
    private static let rest = 16

    /// Pages of an epoch from which on it is swept; nil: none is.
    private let least: Int?
    /// Pages of the last epoch.
    private var expected = 0
    /// Pages that went ahead of the running epoch; nil: none was swept.
    private var swept: Int?
    private var resting = 0

    package init(from least: Int?) { self.least = least }

    /// The guest is about to be suspended; whether it is swept first. Yes once in an epoch.
    package mutating func wantsSweep() -> Bool {
        guard let least, swept == nil, expected >= least, resting == 0 else { return false }
        swept = 0
        return true
    }

    /// A round is over, in which `pages` pages went while the guest ran.
    package mutating func wasSwept(pages: Int) { if swept != nil { swept = pages } }

    /// The epoch is staged: `pages` pages were copied in the pause.
    package mutating func wasCopied(pages: Int) {
        if let swept {
            resting = swept > 0 && pages > swept / 2 ? Self.rest : 0
            expected = max(pages, swept)
        } else {
            resting = max(0, resting - 1)
            expected = pages
        }
        swept = nil
    }
}
