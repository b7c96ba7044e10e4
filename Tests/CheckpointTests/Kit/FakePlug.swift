/// A plug that counts output instead of holding packets: everything up to a number has left.
struct FakePlug {
    private(set) var holds = false
    private(set) var closed: (epoch: UInt64, upTo: Int)?
    private var left = 0

    init(holds: Bool = false) { self.holds = holds }

    /// What the world has seen of `output`.
    func visible(of output: Int) -> Int { holds ? left : output }

    /// False if an epoch is closed already.
    mutating func cut(_ epoch: UInt64, at output: Int) -> Bool {
        guard closed == nil else { return false }
        // The first cut closes an open buffer; what has left, has left.
        if !holds { left = output }
        holds = true
        closed = (epoch, output)
        return true
    }

    /// False if that epoch is not the closed one.
    mutating func release(_ epoch: UInt64) -> Bool {
        guard let closed, closed.epoch == epoch else { return false }
        left = closed.upTo
        self.closed = nil
        return true
    }

    mutating func absorb() { closed = nil }

    /// What is dropped is never seen; a plug that drops counts as shut.
    mutating func dropAll() {
        closed = nil
        holds = true
    }

    mutating func releaseAll(at output: Int) {
        left = output
        closed = nil
        holds = false
    }
}
