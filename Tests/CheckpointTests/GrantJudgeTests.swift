import Checkpoint
import Testing

/// What a record that an arbiter has means for a request: the whole table.
@Suite struct GrantJudgeTests {
    static let mine = GrantRecord(generation: 8, owner: "beta", id: 1)
    static let others = GrantRecord(generation: 8, owner: "alpha", id: 2)
    static let current = GrantRecord(generation: 7, owner: "alpha", id: 3)
    static let older = GrantRecord(generation: 6, owner: "alpha", id: 4)
    static let newer = GrantRecord(generation: 9, owner: "alpha", id: 5)
    /// Our owner and generation, another id: what somebody asked who calls itself as we do.
    static let namesake = GrantRecord(generation: 8, owner: "beta", id: 6)

    static let table: [(found: GrantRecord?, usedBefore: Bool, GrantRequest.Judgement)] = [
        (nil, false, .swap(expecting: nil)),
        (nil, true, .answer(.memoryLost(found: nil))),
        (older, false, .swap(expecting: older)),
        (older, true, .answer(.memoryLost(found: older))),
        (current, false, .swap(expecting: current)),
        (current, true, .swap(expecting: current)),
        (mine, false, .answer(.granted(mine))),
        (mine, true, .answer(.granted(mine))),
        (others, false, .answer(.denied(by: others))),
        (others, true, .answer(.denied(by: others))),
        (namesake, true, .answer(.denied(by: namesake))),
        (newer, false, .answer(.denied(by: newer))),
        (newer, true, .answer(.denied(by: newer))),
    ]

    @Test(arguments: table.indices)
    func judges(row: Int) {
        let (found, usedBefore, expected) = Self.table[row]
        let request = GrantRequest(
            guest: GuestUUID(high: 1, low: 2),
            from: 7,
            wanted: Self.mine,
            usedBefore: usedBefore
        )
        #expect(request.judge(found) == expected)
    }

    /// The first record of a guest: from nothing.
    @Test func theFirstRecord() {
        let first = GrantRecord(generation: 1, owner: "alpha", id: 1)
        let request = GrantRequest(
            guest: GuestUUID(high: 1, low: 2),
            from: 0,
            wanted: first,
            usedBefore: false
        )
        #expect(request.judge(nil) == .swap(expecting: nil))
        #expect(request.judge(first) == .answer(.granted(first)))
        var other = first
        other.id = 2
        #expect(request.judge(other) == .answer(.denied(by: other)))
    }
}
