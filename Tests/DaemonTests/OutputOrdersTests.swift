import Checkpoint
import Testing

@Suite struct OutputOrdersTests {
    private let buffer = FakeOutput()
    private let now = Instant(nanoseconds: 1_000_000_000)

    private func orders() -> OutputOrders { OutputOrders(buffer, every: .milliseconds(200)) }

    @Test func anOrderThatSucceedsIsGivenOnce() throws {
        var orders = orders()
        try orders.cut(epoch: 1)
        try orders.give(.release(epoch: 1), at: now)
        #expect(try !orders.retry(at: now + .seconds(1)))
        #expect(buffer.done == ["cut 1", "release 1"])
        #expect(orders.owed == nil && orders.retryAt == nil)
    }

    @Test(arguments: [OutputOrders.Order.release(epoch: 1), .absorb, .releaseAll, .dropAll])
    func aFailedOrderIsGivenAgainEveryInterval(_ order: OutputOrders.Order) throws {
        var orders = orders()
        buffer.fails = true
        #expect(throws: GuestError.self) { try orders.give(order, at: now) }
        #expect(orders.owed == order && orders.retryAt == now + .milliseconds(200))
        #expect(try !orders.retry(at: now + .milliseconds(199)))
        #expect(throws: GuestError.self) { try orders.retry(at: now + .milliseconds(200)) }
        #expect(buffer.attempts == 2)
        #expect(orders.retryAt == now + .milliseconds(400))
        buffer.fails = false
        #expect(try orders.retry(at: now + .milliseconds(400)))
        #expect(orders.owed == nil && buffer.done.count == 1)
    }

    @Test func aCutComesAfterWhatIsOwedOrFails() throws {
        var orders = orders()
        buffer.fails = true
        #expect(throws: GuestError.self) { try orders.give(.release(epoch: 1), at: now) }
        #expect(throws: GuestError.self) { try orders.cut(epoch: 2) }
        #expect(buffer.done.isEmpty && orders.owed == .release(epoch: 1))
        buffer.fails = false
        try orders.cut(epoch: 2)
        #expect(buffer.done == ["release 1", "cut 2"])
        #expect(orders.owed == nil)
    }

    @Test func aCutThatFailsOwesNothing() {
        var orders = orders()
        buffer.fails = true
        #expect(throws: GuestError.self) { try orders.cut(epoch: 2) }
        #expect(orders.owed == nil)
    }

    @Test func aReleaseOfEverythingIsNeverCarriedOutAfterADrop() throws {
        var orders = orders()
        buffer.fails = true
        #expect(throws: GuestError.self) { try orders.give(.releaseAll, at: now) }
        #expect(throws: GuestError.self) { try orders.give(.dropAll, at: now) }
        #expect(orders.owed == .dropAll)
        buffer.fails = false
        #expect(try orders.retry(at: now + .seconds(1)))
        #expect(buffer.done == ["dropAll"])
    }

    @Test func aReleaseOfEverythingTakesTheOthersPlace() throws {
        var orders = orders()
        buffer.fails = true
        #expect(throws: GuestError.self) { try orders.give(.release(epoch: 3), at: now) }
        buffer.fails = false
        try orders.give(.releaseAll, at: now)
        #expect(buffer.done == ["releaseAll"] && orders.owed == nil)
    }

    /// What a new session begins with: one that the buffer does not take any more must not stand in its way.
    @Test func anAbsorbMakesUpForASingleRelease() throws {
        var orders = orders()
        buffer.failing = ["release 3"]
        #expect(throws: GuestError.self) { try orders.give(.release(epoch: 3), at: now) }
        try orders.give(.absorb, at: now)
        #expect(buffer.done == ["absorb"] && orders.owed == nil)
    }

    @Test func aSmallerOrderDoesNotTakeTheBiggersPlace() throws {
        var orders = orders()
        buffer.fails = true
        #expect(throws: GuestError.self) { try orders.give(.releaseAll, at: now) }
        #expect(throws: GuestError.self) { try orders.give(.absorb, at: now) }
        #expect(orders.owed == .releaseAll && buffer.attempts == 2)
        buffer.fails = false
        try orders.give(.absorb, at: now)
        #expect(buffer.done == ["releaseAll", "absorb"])
    }
}
