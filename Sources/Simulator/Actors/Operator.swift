import Checkpoint

/// A person, or a script, that follows docs/operations.md: protects what runs, fences before a failover and vouches for
/// nothing else, gives a copy back to the network only when it cannot speak for the guest.
final class Operator {
    private unowned let world: World
    /// A host that was fenced while its copy was the guest.
    private var fenced: Host?
    private var roundsWithoutGuest = 0
    /// How often in a row the guest was found waiting for somebody's word.
    private var roundsHeld = 0
    private var heardWhenFair: Int?

    init(in world: World) { self.world = world }

    func begin() {
        world.after(.milliseconds(world.isFair ? 500 : world.random(100...1000))) { [self] in
            round()
            begin()
        }
    }

    private func round() {
        for host in world.hosts { tidy(host) }
        // It has come about, at whichever host.
        if let owner = world.owner, owner.end == nil, owner.host !== fenced { fenced = nil }
        if let owner = world.owner, owner.end == nil, fenced == nil {
            roundsWithoutGuest = 0
            protect(owner)
            goOn(owner)
            if world.isFair { judge(owner) }
        } else {
            failOver()
        }
    }

    /// Protection is back when it has been acknowledged and heard since nothing goes wrong.
    private func judge(_ owner: GuestCopy) {
        let heard = heardWhenFair ?? world.client.seen
        heardWhenFair = heard
        guard let protect = owner.host.protect, protect.machine.status.protected, !owner.host.isIsolated,
            owner.plug.holds, world.client.seen > heard
        else { return }
        world.end()
    }

    // MARK: Guests

    /// What is left of a guest that has ended goes; so does a copy that is not the guest.
    private func tidy(_ host: Host) {
        guard let copy = host.copy else {
            if host !== fenced { host.isIsolated = false }
            return
        }
        if copy.end != nil, host.protect == nil {
            host.copy = nil
            return
        }
        guard copy.number != world.client.owner else { return }
        // It is cut off, and may learn that it is outdated; durably so, it may be let back.
        let record = try? Records.primary(on: host.disk)
        if copy.plug.drops, record?.outdatedBy != nil, world.chance(3) { host.isIsolated = false }
        let state = host.protect?.machine.status.state
        if world.isFair || state == .alone || state == .splitBrain ? world.chance(2) : world.chance(20) {
            destroy(copy)
        } else if host.protect == nil, world.chance(3) {
            begin(copy)
        } else if state == .outdated, world.chance(4) {
            host.protect?.die()
        }
    }

    private func destroy(_ copy: GuestCopy) {
        world.note { "the copy on \(copy.host.name) is stopped" }
        copy.speak()
        copy.host.protect?.die()
        copy.end = .shutdown
        copy.host.copy = nil
        copy.host.isIsolated = false
    }

    private func protect(_ owner: GuestCopy) {
        let host = owner.host
        host.isIsolated = false
        if let protect = host.protect {
            switch protect.machine.status.state {
            case .splitBrain:
                // The other copy is stopped, and the one that is left protected again.
                for other in world.hosts where other !== host { other.copy.map(destroy) }
                if world.chance(2) { return protect.die() }
                protect.whenRunning { protect.dispatch(.resolveRequested(keepsThis: true)) }
            case .outdated:
                if owner.acknowledged == 0, !world.hosts.contains(where: { $0.standby?.holdsGrant ?? true }) {
                    world.breaks("R1: the guest on \(host.name) is new, and taken for outdated")
                }
                destroy(owner)
            default: break
            }
            return
        }
        if world.isFair || world.chance(2) { begin(owner) }
    }

    private func begin(_ copy: GuestCopy) {
        let host = copy.host
        var settings = world.settings
        // Now and then with other options than before.
        if world.chance(2) { settings.aloneAfter = .seconds(world.random(2...6)) }
        let others = world.hosts.filter { $0 !== host }
        // A copy that is not the guest learns from the one that is, and is copied nowhere else.
        let guest = copy.number == world.client.owner ? nil : world.owner?.host
        guard let target = guest ?? (world.chance(4) ? world.any(others) : others.first) else { return }
        let vouched = generationToVouchFor(copy)
        let protect = PrimaryDriver.start(on: host, copy, to: target.index, settings, vouched: vouched)
        if let protect, protect.isAlive { host.protect = protect }
    }

    /// The arbiter's record stood against the guest, or was gone: whoever has it is over, and nobody holds a grant still.
    private func generationToVouchFor(_ copy: GuestCopy) -> UInt64? {
        guard copy.number == world.client.owner,
            !world.hosts.contains(where: { $0.standby?.holdsGrant ?? true })
        else { return nil }
        switch copy.host.lastResult {
        case .denied(let record): return record.generation
        default:
            guard let known = generationsKnown(on: copy.host), hasForgotten(known.granted) else {
                return nil
            }
            return known.highest
        }
    }

    /// The highest generation that a host knows, and the highest that it knows to have been granted.
    private func generationsKnown(on host: Host) -> (highest: UInt64, granted: UInt64)? {
        guard let own = try? Records.primary(on: host.disk) else { return nil }
        let asStandby = try? Records.standby(on: host.disk)
        return (
            max(own.generation, asStandby?.generation ?? 0),
            max(own.arbiter?.granted ?? 0, asStandby?.arbiter?.granted ?? 0)
        )
    }

    /// The arbiter lost its memory: it has no record, or one of an older generation than it has granted.
    private func hasForgotten(_ granted: UInt64) -> Bool {
        guard world.arbiterChoice?.decides == true else { return false }
        return world.arbiter.record.map { $0.generation < granted } ?? true
    }

    /// A guest that is held for long goes on by his word, once he has switched its standby off.
    private func goOn(_ owner: GuestCopy) {
        let waits = owner.host.protect?.isRunning == true && owner.host.protect?.machine.mayContinue == true
        roundsHeld = waits ? roundsHeld + 1 : 0
        if world.arbiterChoice != nil, roundsHeld > 20 { _ = vouchForStandby(of: owner) }
        // An arbiter without its memory is given a new record when protection begins anew.
        guard !waits, let protect = owner.host.protect, protect.machine.status.arbiterTrouble != nil,
            hasForgotten(protect.facts.arbiter?.granted ?? 0), world.chance(10)
        else { return }
        protect.whenRunning { protect.dispatch(.unprotectRequested) }
    }

    /// A guest that has ended, and whose output nobody gives back, is let go by his word too.
    private func endWaiting() {
        for host in world.hosts where host !== fenced {
            guard let copy = host.copy, copy.number == world.client.owner, copy.end != nil else { continue }
            _ = vouchForStandby(of: copy)
        }
    }

    /// Switches off the hosts that may have an image that output is held for; images do not outlast that. He does not where
    /// a standby has gone on with the guest already, and clients have seen that.
    /// - Returns: false if the guest does not wait for such a word.
    func vouchForStandby(of owner: GuestCopy) -> Bool {
        guard fenced == nil, owner.number == world.client.owner, let protect = owner.host.protect,
            protect.isRunning, protect.machine.mayContinue
        else { return false }
        let known = protect.facts.standby.flatMap { Int($0) }
        for host in world.hosts where host !== owner.host && (known == nil || known == host.index) {
            host.losePower()
        }
        world.note { "somebody vouches for the standby of \(owner.host.name)" }
        protect.dispatch(.continueRequested)
        return true
    }

    // MARK: Failover

    /// Switches the guest's host off, or cuts it off from the clients, to fail over.
    func fence(_ owner: GuestCopy, byPower: Bool) {
        let host = owner.host
        guard fenced == nil, owner.number == world.client.owner else { return }
        world.note { "\(host.name) is fenced \(byPower ? "(switched off)" : "(cut off)")" }
        owner.speak()
        fenced = host
        if byPower { host.losePower() } else { host.isIsolated = true }
        failOver()
    }

    private func failOver() {
        roundsWithoutGuest += 1
        if world.arbiterChoice != nil, roundsWithoutGuest % 20 == 0 { endWaiting() }
        var isUnclear = false
        for host in world.hosts where host !== fenced || host.copy == nil {
            guard host.isUp, let daemon = host.standby, daemon.isRunning else {
                isUnclear = true
                continue
            }
            // Whoever speaks for the guest must be off, or cut off; before its last word is gone nobody vouches for that.
            let others = world.hosts.filter { $0 !== host && $0.copy != nil && !$0.isIsolated }
            // An arbiter's grant fences what it is not granted to.
            let isFenced = others.allSatisfy { $0.copy?.end != nil }
            guard isFenced || world.arbiterChoice?.decides == true, let image = daemon.image,
                image.isOf(world.client) || daemon.machine.facts.state == .active
            else { continue }
            var order = ActivationOrder(
                confirmFenced: others.isEmpty ? image.facts.primaryHost : nil,
                acceptRollback: roundsWithoutGuest > 6 && world.chance(2)
            )
            if world.arbiterChoice != nil, roundsWithoutGuest > 12, others.isEmpty, order.acceptRollback,
                isNewest(image)
            {
                order.force = true
                order.ifGeneration = image.facts.generation
            }
            switch daemon.activate(order) {
            case .active:
                fenced = nil
                return
            // Nobody is let back while what he ordered may still come about.
            case .tryAgain: isUnclear = isUnclear || roundsWithoutGuest < 40 || daemon.machine.isAsking
            case .refused(.mayBeOlder) where world.owner == nil && roundsWithoutGuest < 40: isUnclear = true
            case .refused(let decision): world.note { "not activated on \(host.name): \(decision)" }
            }
        }
        // A host that may have been granted the guest has it.
        if isUnclear || world.hosts.contains(where: { $0.standby?.holdsGrant ?? true }) { return }
        if let owner = world.owner, owner.end == nil || owner.host === fenced {
            world.note { "\(owner.host.name) is let back" }
            owner.host.isIsolated = false
            fenced = nil
        } else if roundsWithoutGuest > 3, world.hosts.allSatisfy({ $0.protect == nil }), !mayStillActivate {
            fenced = nil
            for host in world.hosts { if let copy = host.copy { destroy(copy) } }
            if let host = world.any(world.hosts) { world.startGuest(on: host) }
        }
    }

    /// No other standby keeps an image of a higher generation: it could be granted the guest after this one.
    private func isNewest(_ image: Image) -> Bool {
        world.hosts.allSatisfy { host in
            [host.kept, host.standby?.image].allSatisfy {
                ($0?.facts.generation ?? 0) <= image.facts.generation
            }
        }
    }

    /// A standby may ask for the guest by itself yet, and be granted it: nothing is begun anew meanwhile.
    private var mayStillActivate: Bool {
        world.activatesByItself
            && world.hosts.contains {
                $0.standby.map { $0.image != nil && ($0.machine.isAsking || $0.machine.wantsTime) } ?? false
            }
    }

    /// Somebody tries without a word, while the guest lives: nothing may come of it.
    func hope() {
        guard let owner = world.owner, owner.end == nil else { return }
        for host in world.hosts where host !== owner.host {
            guard let daemon = host.standby, daemon.isRunning, !daemon.machine.runsHere, !daemon.holdsGrant,
                daemon.image?.isOf(world.client) == true
            else { continue }
            _ = daemon.activate(ActivationOrder())
        }
    }
}

extension StandbyDriver {
    /// The guest is granted to this host, and can be started here.
    var holdsGrant: Bool { machine.facts.state == .active && image != nil && !machine.runsHere }
}
