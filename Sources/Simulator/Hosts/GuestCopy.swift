import Checkpoint

/// A running copy of the guest. What it says are numbers: who knows number n knows all before it.
final class GuestCopy {
    let number: Int
    unowned let host: Host
    let plug: SimulatedPlug
    var isSuspended = false { didSet { if isSuspended { suspendedAt = host.world.now } } }
    private(set) var suspendedAt = Instant(nanoseconds: 0)
    /// Its host hangs.
    var isFrozen = false
    /// Another tool keeps it from running.
    var isPaused = false
    /// Its protect does, as it may be running elsewhere; or that one's guardian.
    var standsStill = false
    var end: GuestEnd?
    /// The newest number that a standby acknowledged to know.
    var acknowledged = 0
    /// The newest number that has left.
    var shown: Int
    private var toldUntil: Instant
    /// Between two numbers.
    private static let pace = TimeSpan.milliseconds(3)

    init(number: Int, on host: Host, knowing output: Int) {
        self.number = number
        self.host = host
        plug = SimulatedPlug(sent: output, host.world)
        shown = output
        toldUntil = host.world.now
        plug.copy = self
    }

    var runs: Bool { !isSuspended && !isFrozen && !isPaused && !standsStill && end == nil }
    var output: Int { plug.sent }

    /// Says what it has said until now.
    func speak() {
        let now = host.world.now
        if runs { plug.sent += Int((now - toldUntil).nanoseconds / Self.pace.nanoseconds) }
        let rest = (now - toldUntil).nanoseconds % Self.pace.nanoseconds
        toldUntil = runs ? Instant(nanoseconds: now.nanoseconds - rest) : now
        host.world.client.watch(self)
    }
}

/// The plug as the kernel has it (sch_plug): counters, no names. A release lets as many packets go as the last epoch
/// that was cut had.
final class SimulatedPlug: OutputBuffer {
    private unowned let world: World
    fileprivate(set) weak var copy: GuestCopy?
    /// Everything the guest has sent, and how much of it has left while the plug holds.
    var sent: Int
    private var left = 0
    private(set) var holds = false
    private(set) var drops = false
    private var cutAt = 0
    private var lastEpoch = 0
    private(set) var closed: UInt64?
    /// Orders fail; half of them are carried out all the same.
    var fails = false

    init(sent: Int, _ world: World) {
        self.sent = sent
        self.world = world
    }

    var wasClosed: Bool { holds || drops }
    /// What the world can have seen.
    var visible: Int { holds || drops ? left : sent }

    private func order(_ body: () -> Void) throws(GuestError) {
        if fails, world.chance(2) { throw GuestError(guest: "web", reason: "busy") }
        body()
        if let copy { world.client.watch(copy) }
        if fails { throw GuestError(guest: "web", reason: "no answer") }
    }

    func cut(epoch: UInt64) throws(GuestError) {
        try order {
            if let closed, closed != epoch {
                world.breaks("R2: epoch \(epoch) is cut while \(closed) is closed")
            }
            if !holds { (left, cutAt) = (sent, sent) }
            // Given again, what was sent meanwhile belongs to it too.
            lastEpoch = (closed == nil ? 0 : lastEpoch) + sent - cutAt
            (holds, closed, cutAt) = (true, epoch, sent)
        }
    }

    func release(epoch: UInt64) throws(GuestError) {
        try order {
            if let closed, closed != epoch {
                world.breaks("R2: epoch \(epoch) is released, \(closed) is closed")
            }
            releaseLast()
        }
    }

    /// Lets the last epoch that was cut go.
    func releaseLast() {
        left += lastEpoch
        (lastEpoch, closed) = (0, nil)
    }

    /// Ends the running epoch without a look at the one before, as the kernel would.
    func forgetClosed() { (closed, lastEpoch) = (nil, 0) }

    func absorb() throws(GuestError) {
        try order { (cutAt, lastEpoch, closed) = (left, 0, nil) }
    }

    func releaseAll() throws(GuestError) {
        try order { (left, lastEpoch, closed, holds, drops) = (sent, 0, nil, false, false) }
    }

    func dropAll() throws(GuestError) {
        try order {
            if !holds, !drops { left = sent }
            (closed, drops) = (nil, true)
        }
    }

    func heldBytes() -> Int { sent - visible }
}
