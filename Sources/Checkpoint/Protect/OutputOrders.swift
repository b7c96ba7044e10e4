/// The machine's orders to the output buffer. One that fails is owed: it is given again until it is carried out.
///
/// Nothing is released that the machine did not order, or ordered otherwise since: a release or a drop of everything
/// takes the place of what is owed, and a cut, after which output is held for another reason, fails while anything is.
package struct OutputOrders {
    package enum Order: Equatable, Sendable {
        case release(epoch: UInt64)
        case absorb, releaseAll, dropAll

        /// It leaves nothing for an earlier order to do, and no later one but its like may take its place.
        fileprivate var concernsEverything: Bool { self == .releaseAll || self == .dropAll }
    }

    private let output: any OutputBuffer
    private let interval: TimeSpan
    /// The newest order that failed.
    package private(set) var owed: Order?
    /// When it is given again; nil while none is owed.
    package private(set) var retryAt: Instant?

    /// Orders to `output`; what failed is given again every `interval`.
    package init(_ output: any OutputBuffer, every interval: TimeSpan) {
        self.output = output
        self.interval = interval
    }

    /// Carries out an order of the machine's, after what is owed.
    /// - Throws: why it, or the one before it, failed; it will be tried again.
    package mutating func give(_ order: Order, at now: Instant) throws(GuestError) {
        do throws(GuestError) {
            if !order.concernsEverything { try settle() }
        } catch {
            retryAt = now + interval
            // A single release that is forgotten goes along with the next epoch's: later, which is always safe.
            if let owed, owed.concernsEverything { throw error }
        }
        owed = order
        retryAt = now + interval
        try settle()
    }

    /// Ends the running epoch's output, once nothing is owed.
    package mutating func cut(epoch: UInt64) throws(GuestError) {
        try settle()
        try output.cut(epoch: epoch)
    }

    /// Gives what is owed again, if there is something and it is time.
    /// - Returns: true if it was carried out now.
    /// - Throws: why it failed again.
    package mutating func retry(at now: Instant) throws(GuestError) -> Bool {
        guard let retryAt, now >= retryAt else { return false }
        self.retryAt = now + interval
        try settle()
        return true
    }

    private mutating func settle() throws(GuestError) {
        guard let owed else { return }
        switch owed {
        case .release(let epoch): try output.release(epoch: epoch)
        case .absorb: try output.absorb()
        case .releaseAll: try output.releaseAll()
        case .dropAll: try output.dropAll()
        }
        self.owed = nil
        retryAt = nil
    }
}
