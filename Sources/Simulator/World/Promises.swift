import Checkpoint

/// R1 to R4 at one instant. What is heard is checked as it leaves (`Client`), what is cut and released by the plug,
/// what is started by `World.start`; here is what could happen next, and what stands still.
enum Promises {
    static func check(_ world: World) {
        for host in world.hosts { host.copy?.speak() }
        let ownerLives = world.owner.map { $0.end == nil } ?? false
        for host in world.hosts {
            checkImage(of: host, world, ownerLives)
            checkPause(of: host, world)
            checkDisk(of: host, world)
        }
    }

    /// A copy that may no longer run writes to no disk that another may have.
    private static func checkDisk(of host: Host, _ world: World) {
        guard let copy = host.copy, let protect = host.protect, protect.isRunning,
            protect.settings.standsStill, protect.machine.status.state == .outdated, copy.runs
        else { return }
        world.breaks("R1: the outdated copy on \(host.name) may write to its disk")
    }

    /// If all hosts but this one went dark now: what would be activated here, on whose word?
    private static func checkImage(of host: Host, _ world: World, _ ownerLives: Bool) {
        guard let daemon = host.standby, let image = daemon.image, image.isOf(world.client),
            !daemon.machine.runsHere
        else { return }
        let isOlder = image.knows < world.client.seen && !image.rollbackAccepted
        // What needs nobody's word does not depend on the time.
        let mayNeedNoWord = ownerLives && daemon.isChanged && daemon.machine.facts.state != .active
        daemon.isChanged = false
        guard isOlder || mayNeedNoWord else { return }
        var machine = daemon.machine
        if let live = machine.liveConnection {
            var effects = EffectBuffer<StandbyEffect>()
            machine.handle(.connectionLost(live), at: daemon.now, into: &effects)
        }
        func mayActivate(_ order: ActivationOrder) -> Bool {
            switch machine.decide(order, primaryGoneSince: nil, at: daemon.now) {
            case .allowed: return true
            case .ask:
                let wish = machine.wishing(for: world.guest.uuid, id: 1)
                return isOlder && (wish.map { world.arbiter.wouldGrant($0.request) } ?? false)
            default: return false
            }
        }
        if isOlder, mayActivate(ActivationOrder(confirmFenced: image.facts.primaryHost)) {
            world.breaks(
                "R3: \(host.name) would activate an image that knows \(image.knows), \(world.client.seen) was seen"
            )
        }
        if mayNeedNoWord, mayActivate(ActivationOrder()) {
            world.breaks("R1: \(host.name) would activate without anybody's word while the guest runs")
        }
    }

    /// Whoever protects does not leave the guest suspended.
    private static func checkPause(of host: Host, _ world: World) {
        guard let copy = host.copy, copy.isSuspended, copy.end == nil, !copy.isFrozen else { return }
        guard let protect = host.protect else {
            return world.breaks("R5: the guest is suspended and nobody protects it")
        }
        guard protect.isRunning, !protect.resumeOwed, !host.resumeFails else { return }
        let since = max(copy.suspendedAt, protect.wokeAt)
        if world.now - since > protect.settings.maxPause + .milliseconds(200) {
            world.breaks("R4: the guest has been suspended for \(world.now - since)")
        }
    }
}
