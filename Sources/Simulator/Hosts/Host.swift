import Checkpoint

/// A host: its power, clock and disk, and what runs on it.
final class Host {
    let index: Int
    unowned let world: World
    var clock: HostClock
    private(set) lazy var disk = SimulatedDisk(of: self)
    private(set) var isUp = true
    /// Cut off from the clients, not from the other hosts: one way to fence it.
    var isIsolated = false
    /// A second image never fits beside the first.
    let keepsOneImage: Bool

    var copy: GuestCopy?
    var protect: PrimaryDriver?
    /// How the last one ended.
    var lastResult: ProtectResult?
    var standby: StandbyDriver?
    /// The guardian's; the same memory that the daemon has.
    var kept: Image?

    // What fails, while it does.
    var recordsFail = false, guardianFails = false, memoryIsFull = false, startFails = false
    var harvest: HarvestTrouble?
    var suspend: SuspendTrouble?
    var resumeFails = false

    init(_ index: Int, in world: World) {
        self.index = index
        self.world = world
        keepsOneImage = world.chance(4)
        clock = HostClock(
            rate: world.random(950...1050),
            startingAt: Instant(nanoseconds: world.random(1...1 << 40))
        )
    }

    static let names = ["alpha", "beta", "gamma"]
    var name: String { Self.names[index] }

    func startDaemon() {
        guard isUp, standby?.isAlive != true else { return }
        standby = StandbyDriver.start(on: self)
    }

    /// Everything that runs stops at once, and nobody is told.
    func losePower() {
        guard isUp else { return }
        world.note { "\(self.name) loses power" }
        isUp = false
        world.darken(index)
        protect?.die()
        standby?.die()
        copy?.end = .crashed
        (protect, standby, copy, kept) = (nil, nil, nil, nil)
        disk.losePower()
        world.after(.milliseconds(world.random(500...6000))) { [self] in
            guard !isUp else { return }
            world.note { "\(self.name) boots" }
            isUp = true
            world.after(.milliseconds(world.random(50...500))) { [self] in startDaemon() }
        }
    }

    /// Guest and processes stand still; the clock goes on.
    func hang(for span: TimeSpan) {
        protect?.stop(for: span)
        standby?.stop(for: span)
        guard let copy else { return }
        copy.speak()
        copy.isFrozen = true
        world.after(span) {
            copy.speak()
            copy.isFrozen = false
        }
    }

    func clearTroubles() {
        (recordsFail, guardianFails, memoryIsFull, startFails) = (false, false, false, false)
        (harvest, suspend, resumeFails, disk.armed) = (nil, nil, false, nil)
        copy?.plug.fails = false
        copy?.isPaused = false
        protect?.fate = nil
        standby?.fate = nil
    }
}

enum HarvestTrouble: CaseIterable { case late, overCapacity, failed, trackingLost }
enum SuspendTrouble: CaseIterable { case refused, paused, requestFails }

/// A committed image, or one on its way: what the product knows, and what is true.
final class Image {
    var facts: ImageFacts
    /// Of which copy, and which of its numbers it knows; nil before epoch 0 is sealed.
    var truth: Truth?
    let history: Int
    /// It was sealed for a copy that was not the guest any more.
    var isAstray = false
    /// A start was attempted: nobody knows what the memory holds.
    var startAttempted = false
    /// A person accepted that it is older than what was seen.
    var rollbackAccepted = false

    init(_ facts: ImageFacts, history: Int) {
        self.facts = facts
        self.history = history
    }

    var knows: Int { truth?.knows ?? 0 }

    /// It may become the guest, as far as a person can know: nothing began anew since, and the copy that it is of was not
    /// fenced. (A copy that is cut off from the clients can still find a standby that has not heard of that.)
    func isOf(_ client: Client) -> Bool { history == client.history && !isAstray }
}
