import Checkpoint
import XenStream

/// `remusd protect`: interprets a `ProtectMachine` as `ProtectEngine` does, on a guest and a plug that are not there.
final class PrimaryDriver: Process {
    private(set) var machine: ProtectMachine
    let copy: GuestCopy
    /// The standby's host.
    let target: Int
    let settings: ProtectSettings
    private(set) var facts: PrimaryFacts
    private var orders: OutputOrders
    private var connection: Connection?
    private(set) var result: ProtectResult?
    private var endedAt: Instant?

    private var events: [ProtectEvent] = []
    private var effects: [ProtectEffect] = []
    private var buffer = EffectBuffer<ProtectEffect>(capacity: 32)
    private var isDraining = false
    private var wakesAt: Instant?

    private var suspendDeadline: Instant?
    /// Counts suspend requests, and sync rounds: one that was given up comes to nothing.
    private var suspends = 0, rounds = 0
    private(set) var resumeOwed = false
    private var endSeen = false
    /// What the machine hears once the facts are durable.
    private var unstored: (what: WriteClass, then: ProtectEvent)?
    private var askedFor: UInt64 = 0
    private var unstoredOutdated: UInt64?
    private var retryStoreAt = Instant(nanoseconds: 0)
    /// The pieces of the running epoch that went ahead of it; and what is staged.
    private var sentAhead: [Int] = []
    private var staged: Truth?
    /// What went over this connection of the running epoch.
    private var length: UInt64 = 0, checksum: UInt32 = 0
    private var cutEpoch: UInt64 = 0

    /// Takes hold of a guest; nil if its generation cannot be written down, or this process dies of it.
    static func start(
        on host: Host,
        _ copy: GuestCopy,
        to target: Int,
        _ settings: ProtectSettings,
        vouched: UInt64? = nil
    ) -> PrimaryDriver? {
        let own: PrimaryFacts?, standby: StandbyFacts?
        do {
            own = try Records.primary(on: host.disk)
            standby = try Records.standby(on: host.disk)
        } catch {
            host.world.breaks("R1: a record of \(host.name) is torn")
            return nil
        }
        copy.speak()
        let begun = try? PrimaryFacts.beginning(
            after: own,
            asStandby: standby,
            plugWasClosed: copy.plug.wasClosed,
            standby: String(target),
            aloneAfter: settings.aloneAfter,
            arbiter: host.world.arbiterChoice,
            vouched: vouched
        )
        guard let (facts, start) = begun else {
            host.world.breaks("R1: the arbiter of \(host.name)'s record changed")
            return nil
        }
        let protect = PrimaryDriver(host, copy, target, settings, facts)
        guard protect.write(.protectBegins) else { return nil }
        host.world.note {
            "protect begins on \(host.name), to \(host.world.hosts[target].name), generation \(start.generation), "
                + "alone after \(settings.aloneAfter), plug \(copy.plug.wasClosed ? "closed" : "open")"
        }
        protect.begin(start)
        return protect
    }

    private init(
        _ host: Host,
        _ copy: GuestCopy,
        _ target: Int,
        _ settings: ProtectSettings,
        _ facts: PrimaryFacts
    ) {
        self.copy = copy
        self.target = target
        self.settings = settings
        self.facts = facts
        orders = OutputOrders(copy.plug, every: settings.retry)
        machine = ProtectMachine(
            settings: settings,
            generation: facts.generation,
            session: host.world.random(1...1 << 40) << 8
        )
        super.init(on: host)
    }

    private func begin(_ start: PrimaryStart) {
        dispatch(
            .start(
                plugWasClosed: copy.plug.wasClosed,
                imageElsewhere: start.imageElsewhere,
                recordedAloneAfter: start.recordedAloneAfter,
                outdatedBy: start.outdatedBy,
                isUnknown: start.isUnknown
            )
        )
        guard isAlive, !machine.standsStill else { return }
        copy.speak()
        copy.standsStill = false
    }

    /// The guest runs on, behind its plug as that is; or its guardian has it stand still, as it may be running elsewhere soon.
    override func die() {
        super.die()
        copy.speak()
        copy.isSuspended = false
        if result == nil { copy.standsStill = settings.standsStill && copy.plug.wasClosed }
        connection?.closeByPrimary()
        connection = nil
        if host.protect === self { host.protect = nil }
    }

    // MARK: The loop

    func dispatch(_ event: ProtectEvent) {
        events.append(event)
        goOn()
    }

    override func goOn() {
        guard !isDraining else { return }
        isDraining = true
        while isRunning {
            if !effects.isEmpty {
                perform(effects.removeFirst())
                if isAlive { step() }
            } else if !events.isEmpty {
                let event = events.removeFirst()
                world.coverage.primary(machine, event)
                machine.handle(event, at: now, into: &buffer)
                effects = buffer.effects
                buffer.clear()
            } else {
                break
            }
        }
        isDraining = false
        sleep()
    }

    private func sleep() {
        guard isRunning else { return }
        var due = result == nil ? machine.nextWake(after: now) : now + settings.retry
        if let suspendDeadline { due = min(due, suspendDeadline) }
        if let retry = orders.retryAt { due = min(due, retry) }
        if let look = machine.nextLook { due = min(due, look) }
        let time = max(host.clock.time(of: due), world.now + .microseconds(10))
        if let wakesAt, wakesAt <= time, wakesAt > world.now { return }
        wakesAt = time
        world.at(time) { [self] in
            guard wakesAt == time else { return }
            whenRunning { self.wake() }
        }
    }

    /// One turn of the loop.
    private func wake() {
        copy.speak()
        if let end = copy.end, !endSeen {
            endSeen = true
            resumeOwed = false
            suspendDeadline = nil
            dispatch(.guestEnded(end))
        }
        if let deadline = suspendDeadline, now >= deadline {
            cancelSuspend()
            dispatch(.suspendFinished(.refused))
        }
        if let (what, event) = unstored, now >= retryStoreAt { store(what, event) }
        if let generation = unstoredOutdated, now >= retryStoreAt { storeOutdated(generation) }
        guard isAlive else { return }
        _ = try? orders.retry(at: now)
        if let look = machine.nextLook, now >= look {
            dispatch(.dirtied(pages: world.chance(4) ? 1 << 20 : 100))
        }
        if result == nil { dispatch(.tick) } else { leave() }
        sleep()
    }

    /// The machine has finished: what failed is tried for a while, then this process ends.
    private func leave() {
        let began = endedAt ?? now
        endedAt = began
        if resumeOwed { resume() }
        let isDone = !resumeOwed && orders.owed == nil && unstoredOutdated == nil
        guard isAlive, isDone || now - began > .seconds(10) else { return }
        if copy.standsStill, copy.end == nil, !isOutdated {
            world.breaks("R5: protect ends and leaves the guest paused")
        }
        world.note { "protect on \(self.host.name) has ended: \(self.result.map { "\($0)" } ?? "")" }
        if copy.isSuspended, !resumeOwed { world.breaks("R5: protect ends and leaves the guest suspended") }
        die()
    }

    private var isOutdated: Bool { if case .outdated? = result { true } else { false } }

    // MARK: The connection

    func connected(_ connection: Connection) {
        guard connection === self.connection else { return connection.closeByPrimary() }
        dispatch(.connected)
    }

    func connectFailed(_ connection: Connection) {
        guard connection === self.connection else { return }
        self.connection = nil
        dispatch(.linkLost(.connectFailed("refused")))
    }

    func receive(_ frame: Frame, on connection: Connection) {
        guard connection === self.connection else { return }
        switch frame {
        case .message(let message, let session):
            let isOurs = session == machine.session || session == 0
            dispatch(isOurs ? .received(message) : .linkLost(.violation("a message of another session")))
        case .fin:
            dropConnection()
            dispatch(.linkLost(.reset("closed")))
            if world.misdeed == .aloneWithoutPermission { try? copy.plug.releaseAll() }
        case .piece, .epochEnd: break
        }
    }

    private func dropConnection() {
        connection?.closeByPrimary()
        connection = nil
        rounds += 1
    }

    // MARK: Effects

    private func perform(_ effect: ProtectEffect) {
        copy.speak()
        switch effect {
        case .connect:
            (length, checksum) = (0, 0)
            connection = world.connect(self, to: target)
        case .disconnect: dropConnection()
        case .sendHello(let generation, let session, let acked, let isValid):
            send(.hello(Hello(from: self, generation, session, acked, isValid)))
        case .send(let message): send(message)
        case .startTracking: sentAhead = []
        case .stopTracking: rounds += 1
        case .syncRound(let epoch, let isWhole): sync(epoch, isWhole)
        case .requeueSentPages:
            sentAhead = []
            rounds += 1
        case .suspend(let deadline): suspend(deadline)
        case .harvest: harvest()
        case .cut(let epoch): cut(epoch)
        case .resume: resume()
        case .sendEpoch(let epoch): sendEpoch(epoch)
        case .pauseGuest: copy.standsStill = true
        case .unpauseGuest: copy.standsStill = false
        case .release(let epoch):
            sentAhead = []
            if world.misdeed == .cutBeforeRelease { return }
            order(.release(epoch: epoch))
        case .absorb: order(.absorb)
        case .releaseAll: order(.releaseAll)
        case .dropAll: order(.dropAll)
        case .storeGeneration(let generation):
            facts.raise(to: generation, standby: String(target))
            store(.generationRises, .generationStored(generation))
        case .storeWish(let generation):
            let id = world.random(1...1 << 60)
            guard let request = facts.wish(for: world.guest.uuid, generation, owner: host.name, id: id) else {
                return
            }
            store(.wish, .wishStored(request))
        case .askArbiter(let request): ask(request)
        case .storeGrant(let record):
            facts.grant(record, standby: String(target))
            store(.generationRises, .generationStored(record.generation))
        case .storeContinuation(let generation):
            facts.goOn(as: generation, standby: String(target))
            store(.generationRises, .generationStored(generation))
        case .storePrevailing(let other): facts.prevail(over: other)
        case .storeAloneAfter:
            facts.shorten(to: settings.aloneAfter, standby: String(target))
            _ = write(.aloneAfterShrinks)
        case .storeOutdated(let generation): storeOutdated(generation)
        case .report(let report): world.note { "\(self.host.name): \(report)" }
        case .finish(let result):
            self.result = result
            host.lastResult = result
            if suspendDeadline != nil { cancelSuspend() }
        }
    }

    private func send(_ message: Message) {
        connection?.sendToStandby(.message(message, session: machine.session))
    }

    private func order(_ order: OutputOrders.Order) { try? orders.give(order, at: now) }

    private func write(_ what: WriteClass) -> Bool {
        if host.recordsFail { return false }
        return host.disk.store(Records.bytes(facts), at: Records.primary, for: what, by: self)
    }

    /// Writes the facts down, now or later, and tells the machine.
    private func store(_ what: WriteClass, _ event: ProtectEvent) {
        guard write(what) else {
            unstored = (what, event)
            retryStoreAt = now + .seconds(1)
            return
        }
        unstored = nil
        dispatch(event)
    }

    private func ask(_ request: GrantRequest) {
        // A plug that has yet to open holds output of nobody's image.
        if settings.standsStill, machine.status.plugClosed, copy.runs, machine.link != .up {
            world.breaks("R1: \(host.name) asks for the guest while that may write to its disk")
        }
        // Asked again, it is durable still, whatever has become of later records.
        if request.wanted.id != askedFor {
            askedFor = request.wanted.id
            let certain = try? Records.primary(host.disk.certain(Records.primary))
            if certain?.arbiter?.wish != request.wanted {
                world.breaks("R1: \(host.name) asks for what is not durable")
            }
        }
        world.arbiter.ask(request, by: self) { [self] answer in
            guard result == nil else { return }
            if world.misdeed == .unansweredIsGranted, case .unavailable = answer {
                return dispatch(.arbiterAnswered(.granted(request.wanted)))
            }
            dispatch(.arbiterAnswered(answer))
        }
    }

    private func storeOutdated(_ generation: UInt64) {
        facts.outdatedBy = generation
        let isDone = write(.outdated)
        unstoredOutdated = isDone ? nil : generation
        if !isDone { retryStoreAt = now + .seconds(1) }
    }

    // MARK: The checkpoint

    private func sync(_ epoch: UInt64, _ isWhole: Bool) {
        if isWhole { sentAhead = [] }
        rounds += 1
        let round = rounds
        let time = world.chance(30) ? world.random(300...3000) : world.random(1...60)
        world.after(.milliseconds(time)) { [self] in
            whenRunning { [self] in
                guard round == rounds, let connection, result == nil else { return }
                copy.speak()
                sendPiece(epoch, connection, isAhead: true)
                dispatch(.syncRoundSent(pages: world.chance(2) ? 1 : 5000))
            }
        }
    }

    private func sendPiece(_ epoch: UInt64, _ connection: Connection, isAhead: Bool) {
        let piece = world.nextPiece()
        if isAhead { sentAhead.append(piece) }
        length += 1
        checksum = checksum &* 31 &+ UInt32(truncatingIfNeeded: piece)
        connection.sendToStandby(.piece(piece, session: machine.session, epoch: epoch))
    }

    private func suspend(_ deadline: Instant) {
        suspends += 1
        let request = suspends
        switch host.suspend {
        case .requestFails: return events.append(.suspendFinished(.refused))
        case .paused: return events.append(.suspendFinished(.paused))
        case .refused: suspendDeadline = deadline
        case nil where world.chance(200): return events.append(.sweepWanted)
        case nil:
            suspendDeadline = deadline
            world.after(.microseconds(world.random(50...6000))) { [self] in
                guard isAlive, request == suspends, suspendDeadline != nil, copy.end == nil else { return }
                copy.speak()
                copy.isSuspended = true
                let since = now
                whenRunning { [self] in
                    guard request == suspends, suspendDeadline != nil else { return }
                    suspendDeadline = nil
                    dispatch(.suspendFinished(.suspended, since: since))
                }
            }
        }
    }

    /// The guest runs on, even if it has suspended meanwhile.
    private func cancelSuspend() {
        suspendDeadline = nil
        suspends += 1
        copy.isSuspended = false
    }

    private func harvest() {
        let result: HarvestResult
        var time = world.random(1...4)
        switch host.harvest {
        case nil: result = .whole(pages: 10)
        case .late:
            result = .late
            time = settings.maxPause.milliseconds + 2
        case .overCapacity: result = .overCapacity(pages: 1 << 20)
        case .failed: result = .failed("no")
        case .trackingLost: result = .trackingLost("void")
        }
        staged = Truth(copy: copy, knows: copy.output, pieces: sentAhead)
        events.append(.harvested(result))
        stop(for: .milliseconds(time))
    }

    private func cut(_ epoch: UInt64) {
        cutEpoch = epoch
        if world.misdeed == .cutWhileGuestRuns {
            copy.isSuspended = false
            world.after(.milliseconds(5)) { [self] in
                whenRunning { [self] in
                    copy.speak()
                    try? orders.cut(epoch: epoch)
                }
            }
            return events.append(.cut)
        }
        if world.misdeed == .cutBeforeRelease {
            copy.plug.forgetClosed()
            try? orders.cut(epoch: epoch)
            if epoch > 0 { copy.plug.releaseLast() }
            return events.append(.cut)
        }
        do {
            try orders.cut(epoch: epoch)
            events.append(.cut)
        } catch {
            if copy.end == nil { events.append(.failed(error.description)) }
        }
    }

    private func resume() {
        if host.resumeFails || (copy.end != nil && !endSeen) {
            resumeOwed = copy.end == nil
            if copy.end == nil { events.append(.resumeFailed("no")) }
            return
        }
        resumeOwed = false
        copy.isSuspended = false
        if result == nil { events.append(.resumed) }
    }

    private func sendEpoch(_ epoch: UInt64) {
        guard let connection else { return }
        // A large epoch, or a slow link.
        let steps = world.chance(50) ? world.random(1...14) : 0
        sendRest(of: epoch, over: connection, steps)
    }

    /// Pieces that take 900 ms each, and the end.
    private func sendRest(of epoch: UInt64, over connection: Connection, _ steps: UInt64) {
        guard let staged else { return }
        sendPiece(epoch, connection, isAhead: false)
        guard steps == 0 else {
            return world.after(.milliseconds(900)) { [self] in
                whenRunning { [self] in
                    guard connection === self.connection, result == nil else { return }
                    dispatch(.epochAdvanced)
                    guard connection === self.connection, result == nil else { return }
                    sendRest(of: epoch, over: connection, steps - 1)
                }
            }
        }
        let end = EpochEnd(length: length, checksum: checksum)
        connection.sendToStandby(.epochEnd(epoch, end, session: machine.session, staged))
        (length, checksum) = (0, 0)
        if world.misdeed == .releaseOnWrite { try? copy.plug.release(epoch: epoch) }
    }
}
