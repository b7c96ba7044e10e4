import Checkpoint

/// What goes wrong, each a row of the report.
enum Fault: String, CaseIterable {
    case wireCut, wireCutOneWay, wireSlow, frameLost, frameDoubled, connectionReset
    case protectKilled, protectDiesInAStep, protectStopped, protectStopsInAStep
    case standbyKilled, standbyDiesInAStep, standbyStopped, guardianDies, standbyAndGuardianDie
    case primaryLosesPower, standbyLosesPower, powerLostInAStep, hostHangs, clockJumps
    case guestRefusesToSuspend, guestPausedByOthers, suspendRequestFails, guestCrashes, guestShutsDown,
        guestReboots
    case harvestLate, harvestTooLarge, harvestFails, trackingLostInHarvest, trackingLost, resumeFails,
        plugFails
    case primaryRecordFails, standbyRecordFails, guardianFails, memoryFull, imageLost, startFails
    case arbiterDown, arbiterCutOff, arbiterForgets, requestToArbiterLost, answerOfArbiterLost
    case unprotected, failoverByPower, failoverByCut, activateWithoutAWord, continuedByHand

    static let ofArbiters: [Fault] = [.arbiterDown, .arbiterCutOff, .arbiterCutOff, .requestToArbiterLost]
}

/// Decides what goes wrong, and when.
final class Misfortune {
    private unowned let world: World
    /// The longest time between two faults, in milliseconds.
    private let pace: UInt64
    private var applied = 0
    private var until = Instant(nanoseconds: 0)

    init(in world: World) {
        self.world = world
        pace = world.any([600, 2000, 6000]) ?? 600
    }

    func begin(for span: TimeSpan) {
        until = world.now + span
        // In the beginning there is time to become protected.
        world.after(.milliseconds(world.random(0...1500))) { [self] in strike() }
    }

    private func strike() {
        let isEnough = applied >= World.leastFaults && world.events >= World.leastEvents
        if world.now >= until, isEnough { return world.becomeFair() }
        // Where an arbiter decides, more often what concerns it.
        let isItsTurn = world.arbiterChoice?.decides == true && world.chance(6)
        if let fault = world.any(isItsTurn ? Fault.ofArbiters : Fault.allCases), strike(fault) {
            applied += 1
            world.coverage.fault(fault)
            world.note { "- \(fault)" }
        }
        if world.chance(3) { armDisk() }
        world.after(.milliseconds(world.random(1...pace))) { [self] in strike() }
    }

    /// The next record of a kind will not be written without trouble.
    private func armDisk() {
        // Half of the time one that is seldom written.
        let kinds =
            world.chance(2)
            ? WriteClass.allCases
            : [
                .aloneAfterShrinks, .aloneAfterShrinks, .outdated, .outdated, .crashed, .crashed, .crashed,
                .crashed, .standbyWish,
            ]
        guard let host = world.any(world.hosts), let what = world.any(kinds),
            let step = world.any(DiskStep.allCases), let trouble = world.any(DiskTrouble.allCases)
        else { return }
        host.disk.armed = (what, step, trouble)
    }

    /// For a while.
    private func during(_ range: ClosedRange<UInt64>, _ set: () -> Void, _ clear: @escaping () -> Void)
        -> Bool
    {
        set()
        world.after(.milliseconds(world.random(range)), clear)
        return true
    }

    /// False if there is nothing that this could happen to.
    private func strike(_ fault: Fault) -> Bool {
        // What ends everything is rarer than what does not, or there would be little else.
        switch fault {
        case .primaryLosesPower, .standbyLosesPower, .standbyAndGuardianDie, .guestCrashes, .guestShutsDown,
            .guestReboots, .failoverByPower, .unprotected:
            guard world.chance(3) else { return false }
        default: break
        }
        let host = world.owner?.host ?? world.hosts[0]
        let other = host.protect.map { world.hosts[$0.target] } ?? world.hosts.first { $0 !== host } ?? host
        let copy = host.copy?.end == nil ? host.copy : nil
        let protect = host.protect?.isAlive == true ? host.protect : nil
        let standby = other.standby?.isAlive == true ? other.standby : nil
        switch fault {
        case .wireCut: cut(host, other, both: true)
        case .wireCutOneWay: world.chance(2) ? cut(host, other, both: false) : cut(other, host, both: false)
        case .wireSlow:
            let slowness = world.random(50...1500)
            return change(host, other, 500...5000) {
                $0.slowness = slowness
            } _: {
                $0.slowness = 3
            }
        case .frameLost, .frameDoubled:
            // Counted as it happens.
            _ = change(host, other, 100...3000) {
                $0.isDirty = true
            } _: {
                $0.isDirty = false
            }
            return false
        case .connectionReset:
            guard let connection = world.connections.last else { return false }
            connection.reset()
        case .protectKilled:
            guard let protect else { return false }
            protect.die()
        case .protectDiesInAStep: return doom(protect) { protect?.die() }
        case .protectStopped:
            guard let protect else { return false }
            protect.stop(for: pause())
        case .protectStopsInAStep:
            let span = pause()
            return doom(protect) { protect?.stop(for: span) }
        case .standbyKilled:
            guard let standby else { return false }
            standby.die()
        case .standbyDiesInAStep: return doom(standby) { standby?.die() }
        case .standbyStopped:
            guard let standby else { return false }
            standby.stop(for: pause())
        case .guardianDies:
            // The daemon has the memory too, and hands it to the next one.
            guard other.kept != nil, let standby else { return false }
            other.kept = nil
            world.after(.milliseconds(world.random(1...300))) {
                if standby.isAlive { other.kept = standby.image }
            }
        case .standbyAndGuardianDie:
            guard let standby else { return false }
            other.kept = nil
            standby.die()
        case .primaryLosesPower: host.losePower()
        case .standbyLosesPower: other.losePower()
        case .powerLostInAStep:
            return world.chance(2)
                ? doom(protect) { host.losePower() } : doom(standby) { other.losePower() }
        case .hostHangs: (world.any(world.hosts) ?? host).hang(for: pause())
        case .clockJumps:
            (world.any(world.hosts) ?? host).clock.jump(
                by: .milliseconds(world.random(250...9000)),
                at: world.now
            )
        case .guestRefusesToSuspend:
            return during(200...8000) {
                host.suspend = .refused
            } _: {
                host.suspend = nil
            }
        case .guestPausedByOthers:
            guard let copy else { return false }
            return during(200...4000) {
                copy.speak()
                copy.isPaused = true
                host.suspend = .paused
            } _: {
                copy.speak()
                copy.isPaused = false
                host.suspend = nil
            }
        case .suspendRequestFails:
            return during(200...8000) {
                host.suspend = .requestFails
            } _: {
                host.suspend = nil
            }
        case .guestCrashes, .guestShutsDown, .guestReboots:
            guard let copy else { return false }
            copy.speak()
            copy.end = fault == .guestCrashes ? .crashed : fault == .guestReboots ? .reboot : .shutdown
            copy.isSuspended = false
        case .harvestLate:
            return during(50...4000) {
                host.harvest = .late
            } _: {
                host.harvest = nil
            }
        case .harvestTooLarge:
            return during(50...4000) {
                host.harvest = .overCapacity
            } _: {
                host.harvest = nil
            }
        case .harvestFails:
            return during(50...4000) {
                host.harvest = .failed
            } _: {
                host.harvest = nil
            }
        case .trackingLostInHarvest:
            return during(50...1000) {
                host.harvest = .trackingLost
            } _: {
                host.harvest = nil
            }
        case .trackingLost:
            guard let protect, protect.result == nil else { return false }
            protect.whenRunning { protect.dispatch(.trackingLost("void")) }
        case .resumeFails:
            return during(50...3000) {
                host.resumeFails = true
            } _: {
                host.resumeFails = false
            }
        case .plugFails:
            guard let plug = copy?.plug else { return false }
            return during(50...3000) {
                plug.fails = true
            } _: {
                plug.fails = false
            }
        case .primaryRecordFails:
            return during(500...6000) {
                host.recordsFail = true
            } _: {
                host.recordsFail = false
            }
        case .standbyRecordFails:
            return during(500...6000) {
                other.recordsFail = true
            } _: {
                other.recordsFail = false
            }
        case .guardianFails:
            return during(500...6000) {
                other.guardianFails = true
            } _: {
                other.guardianFails = false
            }
        case .memoryFull:
            return during(500...6000) {
                other.memoryIsFull = true
            } _: {
                other.memoryIsFull = false
            }
        case .imageLost:
            guard let standby, standby.isRunning, standby.image != nil, !standby.machine.runsHere else {
                return false
            }
            standby.loseImage()
        case .startFails:
            return during(500...6000) {
                other.startFails = true
            } _: {
                other.startFails = false
            }
        case .unprotected:
            guard let protect, protect.result == nil else { return false }
            protect.whenRunning { protect.dispatch(.unprotectRequested) }
        case .failoverByPower, .failoverByCut:
            guard let copy else { return false }
            world.person.fence(copy, byPower: fault == .failoverByPower)
        case .activateWithoutAWord: world.person.hope()
        case .continuedByHand:
            guard let copy, world.person.vouchForStandby(of: copy) else { return false }
        case .arbiterDown, .arbiterCutOff, .arbiterForgets, .requestToArbiterLost, .answerOfArbiterLost:
            return strikeArbiter(fault, host, other)
        }
        return true
    }

    private func strikeArbiter(_ fault: Fault, _ host: Host, _ other: Host) -> Bool {
        let arbiter = world.arbiter
        guard world.arbiterChoice?.decides == true else { return false }
        let until = world.now + .milliseconds(world.random(100...15_000))
        switch fault {
        case .arbiterDown: arbiter.downUntil = until
        case .arbiterCutOff:
            arbiter.cutUntil[(world.chance(2) ? host : other).index] = until
            // Half of the time from the other host too, and for longer.
            if world.chance(2) {
                let end = until + .milliseconds(world.random(0...4000))
                world.wires[host.index][other.index].cutUntil = end
                world.wires[other.index][host.index].cutUntil = end
            }
        case .arbiterForgets:
            guard world.chance(6), arbiter.record != nil else { return false }
            arbiter.forget()
        default:
            // Counted as it happens.
            _ = during(1000...10_000) {
                arbiter.isUnreliable = true
            } _: {
                arbiter.isUnreliable = false
            }
            return false
        }
        return true
    }

    private func pause() -> TimeSpan {
        .milliseconds(world.chance(2) ? world.random(1...400) : world.random(400...9000))
    }

    private func cut(_ one: Host, _ other: Host, both: Bool) {
        let until = world.now + .milliseconds(world.random(20...12_000))
        world.wires[one.index][other.index].cutUntil = until
        if both { world.wires[other.index][one.index].cutUntil = until }
    }

    private func change(
        _ one: Host,
        _ other: Host,
        _ range: ClosedRange<UInt64>,
        _ set: (inout Wire) -> Void,
        _ clear: @escaping (inout Wire) -> Void
    ) -> Bool {
        let (a, b, world) = (one.index, other.index, world)
        return during(range) {
            set(&world.wires[a][b])
            set(&world.wires[b][a])
        } _: {
            clear(&world.wires[a][b])
            clear(&world.wires[b][a])
        }
    }

    /// At any of its next steps.
    private func doom(_ process: Process?, _ end: @escaping () -> Void) -> Bool {
        guard let process else { return false }
        process.fate = (Int(world.random(1...40)), end)
        return true
    }
}
