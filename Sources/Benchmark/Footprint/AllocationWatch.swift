/// Counts what both sides allocate between two acknowledgements of an order: the first epochs, which are not counted, and
/// those after them. Allocates nothing itself meanwhile.
///
/// Unchecked: the measuring thread sets the counters before an order and reads afterwards; between that, only the engine's
/// thread touches it.
final class AllocationWatch: EpochWatch, @unchecked Sendable {
    /// How many allocations of each side are told, from the first one that counts on.
    private let told: Int
    private let warmUp: Int, epochs: Int
    var primary: AllocationCounter?, standby: AllocationCounter?
    private var before = (primary: AllocationCounter.Count(), standby: AllocationCounter.Count())
    private var after = (primary: AllocationCounter.Count(), standby: AllocationCounter.Count())

    init(warmUp: Int, epochs: Int, told: Int = 0) {
        (self.warmUp, self.epochs, self.told) = (warmUp, epochs, told)
    }

    private var now: (primary: AllocationCounter.Count, standby: AllocationCounter.Count) {
        (primary?.count ?? .init(), standby?.count ?? .init())
    }

    func acknowledged(_ count: Int) {
        if count == warmUp {
            tell(told)
            before = now
        } else if count == warmUp + epochs {
            after = now
            tell(0)
        }
    }

    private func tell(_ most: Int) {
        primary?.tell(most)
        standby?.tell(most)
    }

    /// What was allocated in the epochs that count, all of them together.
    var counted: (primary: AllocationCounter.Count, standby: AllocationCounter.Count) {
        (after.primary - before.primary, after.standby - before.standby)
    }
}
