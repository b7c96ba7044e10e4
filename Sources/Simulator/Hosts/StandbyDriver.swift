import Checkpoint

/// `remusd standby`, for one guest: interprets a `StandbyMachine` as `StandbyGuest` and `StandbySession` do.
final class StandbyDriver: Process {
    var machine: StandbyMachine
    /// What the record says.
    private var durable: StandbyFacts
    var image: Image?
    private var incoming: Image?
    private var connections: [ConnectionID: Connection] = [:]
    private var greeted: ConnectionID?
    private var assembly = Assembly()
    private var hello: Hello?
    private var sealing: Truth?
    private var isTicking = false
    /// Only for the bug of that name.
    private(set) var isStarting = false
    /// How the arbiter answered last.
    var lastAnswer: GrantAnswer?
    /// Since the promises were checked last.
    var isChanged = true

    /// What has come of an epoch.
    private struct Assembly {
        var epoch: UInt64 = 0
        var length: UInt64 = 0, checksum: UInt32 = 0
        var pieces: Set<Int> = []
    }

    /// A daemon begins: with its record, and what the guardian kept.
    static func start(on host: Host) -> StandbyDriver? {
        let record: StandbyFacts?
        do { record = try Records.standby(on: host.disk) } catch {
            host.world.breaks("R1: a record of \(host.name) is torn")
            return nil
        }
        host.world.note { "standby begins on \(host.name): \(record?.state.rawValue ?? "no record")" }
        return StandbyDriver(host, record ?? StandbyFacts())
    }

    private init(_ host: Host, _ record: StandbyFacts) {
        var facts = record
        var image = host.kept
        let runs = host.copy.map { $0.end == nil } ?? false
        if facts.state == .active {
            if runs || image?.startAttempted == true { image = nil }
        } else {
            let adopted = facts.adopting(image?.facts)
            facts = adopted.facts
            if !adopted.keepsImage { image = nil }
        }
        host.kept = image
        self.image = image
        durable = record
        machine = Self.machine(facts, image, host)
        machine.runsHere = runs && facts.state == .active
        super.init(on: host)
        world.coverage.standby(machine, .starts, at: now)
        if world.misdeed == .restartedStandbyActivates, image != nil {
            let order = ActivationOrder(confirmFenced: image?.facts.primaryHost, acceptRollback: true)
            isStarting = true
            _ = activate(order)
            isStarting = false
        }
    }

    private static func machine(_ facts: StandbyFacts, _ image: Image?, _ host: Host) -> StandbyMachine {
        var machine = StandbyMachine(facts: facts, image: image?.facts, host: host.name)
        machine.arbiter = host.world.arbiterChoice
        machine.activatesByItself = host.world.activatesByItself
        return machine
    }

    override func die() {
        super.die()
        for (_, connection) in connections.sorted(by: { $0.key < $1.key }) { connection.closeByStandby() }
        connections = [:]
        if host.standby === self { host.standby = nil }
        // It is looked after; now and then by a person, and its primary may run alone by then.
        let time = world.chance(5) ? world.random(3000...12_000) : world.random(10...3000)
        world.after(.milliseconds(time)) { [host] in host.startDaemon() }
    }

    // MARK: Connections

    func accept(_ connection: Connection) { connections[connection.number] = connection }

    func receive(_ frame: Frame, on connection: Connection) {
        let id = connection.number
        guard isAlive, connections[id] != nil else { return }
        switch frame {
        case .fin: lose(id)
        case .message(.hello(let hello), _) where greeted != id: greet(hello, id)
        case _ where machine.liveConnection != id: lose(id)
        case .message(let message, let session):
            guard isOurs(session) else { return violation("a frame of another session", id) }
            handle(.received(message, on: id))
            if machine.liveConnection != id { lose(id) }
        case .piece(let piece, let session, let epoch):
            guard isOurs(session), epoch == assembly.epoch else { return violation("a wrong epoch", id) }
            if world.misdeed == .ackBeforeCheck, epoch > 0, assembly.length == 0 {
                connection.sendToPrimary(.message(.ack(epoch: epoch), session: session))
            }
            assembly.length += 1
            assembly.checksum = assembly.checksum &* 31 &+ UInt32(truncatingIfNeeded: piece)
            assembly.pieces.insert(piece)
            handle(.dataReceived(on: id))
        case .epochEnd(let epoch, let end, let session, let truth):
            guard isOurs(session), epoch == assembly.epoch, end.length == assembly.length,
                end.checksum == assembly.checksum
            else { return violation("an epoch that is not whole", id) }
            if !assembly.pieces.isSuperset(of: truth.pieces) {
                world.breaks("R3: epoch \(epoch) is taken for whole and lacks what went ahead of it")
            }
            sealing = truth
            assembly = Assembly(epoch: epoch + 1)
            handle(.epochWhole(epoch, on: id))
            if world.chance(30), isAlive { apply(id) }
        }
    }

    /// An epoch takes long to apply.
    private func apply(_ id: ConnectionID) {
        stop(for: .milliseconds(world.random(50...1500)))
        whenRunning { [self] in handle(.notListening(on: id)) }
    }

    private func isOurs(_ session: UInt64) -> Bool { session == machine.sessionNumber }

    private func greet(_ hello: Hello, _ id: ConnectionID) {
        noticeEnd()
        if let old = machine.replacedConnection(by: hello, at: now) { lose(old) }
        guard isAlive else { return }
        if let refusal = machine.refusal(of: hello, at: now) {
            world.coverage.standby(machine, .helloRefused, at: now)
            world.note { "\(self.host.name) refuses: \(refusal.text)" }
            connections[id]?.sendToPrimary(.message(.refuse(refusal), session: 0))
            return lose(id)
        }
        self.hello = hello
        let used: UInt64 = host.memoryIsFull ? 100 : 0
        handle(.hello(hello, MemoryVerdict(ceiling: 100, used: used, needed: 10), on: id))
        guard isAlive, machine.liveConnection == id else { return lose(id) }
        greeted = id
        assembly = Assembly(epoch: machine.isSyncing ? 0 : (image?.facts.epoch ?? 0) + 1)
    }

    private func tick() {
        isTicking = machine.wantsTime
        guard isTicking else { return }
        world.after(.milliseconds(50)) { [self] in
            whenRunning { [self] in
                handle(.tick)
                if isAlive { tick() }
            }
        }
    }

    private func violation(_ text: String, _ id: ConnectionID) {
        handle(.violation(text, on: id))
        lose(id)
    }

    /// The connection is over.
    func lose(_ id: ConnectionID) {
        guard isAlive, let connection = connections.removeValue(forKey: id) else { return }
        connection.closeByStandby()
        handle(.connectionLost(id))
    }

    /// A warm image's domain is gone: nobody can adopt it either.
    func loseImage() {
        host.kept = nil
        handle(.imageLost("the image is lost"))
    }

    // MARK: Events and effects

    func handle(_ event: StandbyEvent) {
        guard isAlive else { return }
        isChanged = true
        world.coverage.standby(machine, event, at: now)
        machine.imageIsExclusive = image != nil && host.keepsOneImage
        var buffer = EffectBuffer<StandbyEffect>()
        machine.handle(event, at: now, into: &buffer)
        var closing: [ConnectionID] = []
        for effect in buffer.effects {
            step()
            guard isAlive else { return }
            if case .close(let id) = effect {
                closing.append(id)
            } else if !perform(effect) {
                guard isAlive else { return }
                machine.undo(durable: durable, image: image?.facts)
                if let id = event.connection {
                    handle(.failure(.failure, "it could not be done", on: id))
                    lose(id)
                }
                return
            }
        }
        for id in closing { lose(id) }
        if !isTicking { tick() }
    }

    /// False if it failed.
    private func perform(_ effect: StandbyEffect) -> Bool {
        switch effect {
        case .send(let message, let id):
            if world.misdeed == .ackBeforeCheck, case .ack(let epoch) = message, epoch > 0 { return true }
            let session = machine.liveConnection == id ? machine.sessionNumber ?? 0 : 0
            connections[id]?.sendToPrimary(.message(message, session: session))
        case .store(let facts): return store(facts)
        case .beginImage:
            guard let hello else { return false }
            incoming = Image(ImageFacts(of: hello), history: world.client.history)
        case .continueImage:
            image?.facts.primaryHost = hello?.host ?? ""
        case .discardIncoming: incoming = nil
        case .adoptIncoming:
            if host.guardianFails { return false }
            image = incoming
            host.kept = incoming
            incoming = nil
        case .seal(let epoch):
            let stored = epoch == 0 ? incoming : image
            stored?.facts.epoch = epoch
            stored?.truth = sealing
            if let sealing {
                if sealing.copy.number != world.client.owner { stored?.isAstray = true }
                sealing.copy.acknowledged = max(sealing.copy.acknowledged, sealing.knows)
            }
        case .dropImage:
            image = nil
            // A guardian that does not answer may hold it still.
            if !host.guardianFails { host.kept = nil }
        case .noteEchoedBeat(let beat):
            incoming?.facts.lastEchoedBeat = beat
            image?.facts.lastEchoedBeat = beat
        case .activate:
            world.coverage.standby(machine, .activateByItself, at: now)
            world.after(.microseconds(50)) { [self] in
                whenRunning { [self] in if case .tryAgain = activate(ActivationOrder()) { awaitAnswer() } }
            }
        case .report(let report): world.note { "\(self.host.name): \(report)" }
        case .apply, .close: break
        }
        return true
    }

    func store(_ facts: StandbyFacts, wishing: Bool = false) -> Bool {
        if host.recordsFail { return false }
        var what: WriteClass
        switch facts.state {
        case .dropped: what = .dropped
        case .image: what = .image
        case .crashed: what = .crashed
        case .active: what = .activated
        }
        if wishing { what = .standbyWish }
        let isDone = host.disk.store(Records.bytes(facts), at: Records.standby, for: what, by: self)
        if isDone { durable = facts }
        return isDone
    }
}

extension ImageFacts {
    init(of hello: Hello) {
        self.init(
            generation: hello.generation,
            session: hello.session,
            epoch: 0,
            aloneAfter: hello.aloneAfter,
            primaryHost: hello.host,
            lastEchoedBeat: Instant(nanoseconds: 0)
        )
    }
}
