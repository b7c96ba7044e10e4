/// The standby's side of one guest, sans I/O: events and the time come in, effects go out.
///
/// It acknowledges only what was put together, checked and sealed; it takes over by itself only where it was told to, and
/// with an arbiter's grant; and whatever ends, ends durably before the primary is told.
package struct StandbyMachine {
    /// A connection whose hello was accepted.
    struct Live: Equatable {
        var connection: ConnectionID
        var hello: Hello
        /// The epoch that is awaited.
        var awaited: UInt64
        var lastHeard: Instant
        /// When this side sent the newest thing that the primary answered: the hello's welcome, or a beat it echoed.
        var lastEchoedBeat: Instant
        var nextBeat: Instant
        var beatNumber: UInt64 = 0
        /// Set by the first phase of a planned end: what follows is not wanted any more.
        var ended = false
    }

    /// Silence after which a connection is given up, unless the primary's own is longer (`ProtectSettings.suspectAfter`).
    let suspectAfter: TimeSpan
    let heartbeat: TimeSpan
    let host: String

    package internal(set) var facts: StandbyFacts
    package internal(set) var image: ImageFacts?
    /// True while the guest is being started or runs here.
    package var runsHere = false
    /// There is no room for another one beside this image: it goes before a new session begins.
    package var imageIsExclusive = false
    /// Primaries that wait for no ack are taken (`--unsafe-peer`).
    package var takesUnacknowledged = false
    /// Whom this side asks before it activates.
    package var arbiter: ArbiterChoice?
    /// It asks, and activates, when the primary is gone and nobody has said why.
    package var activatesByItself = false
    /// The arbiter is being asked: whatever it answers, no session begins meanwhile.
    package var isAsking = false
    /// When it does; nil while there is no reason to.
    var activateAt: Instant?
    var live: Live?
    /// When the last connection was lost, and why.
    var lostAt: Instant?
    package private(set) var lostReason: String?

    /// A machine for a guest of which `facts` are durable and `image`, if any, was adopted.
    package init(
        facts: StandbyFacts,
        image: ImageFacts?,
        host: String,
        suspectAfter: TimeSpan = .seconds(1),
        heartbeat: TimeSpan = .milliseconds(100)
    ) {
        self.facts = facts
        self.image = image
        self.host = host
        self.suspectAfter = suspectAfter
        self.heartbeat = heartbeat
    }

    /// Whether a primary was heard of lately.
    package func primaryIsAlive(at now: Instant) -> Bool {
        live.map { !$0.ended && !isSilent($0, at: now) } ?? false
    }

    private func isSilent(_ live: Live, at now: Instant) -> Bool {
        now - live.lastHeard > max(suspectAfter, ProtectSettings.suspectAfter(live.hello.aloneAfter))
    }

    /// Whether an initial sync is being received.
    package var isSyncing: Bool { live.map { !$0.ended && $0.awaited == 0 } ?? false }
    /// Whether whoever replicates waits for no ack.
    package var isUnacknowledged: Bool { live?.hello.unacknowledged ?? false }
    /// The connection that replicates, if any.
    package var liveConnection: ConnectionID? { live?.connection }

    /// The session of that connection.
    package var sessionNumber: UInt64? { live?.hello.session }

    /// Whether a live connection would give way to one with `hello`: it is of the same session (its end was not seen
    /// yet), or its primary has gone silent.
    package func yields(to hello: Hello, at now: Instant) -> Bool {
        live.map { $0.hello.session == hello.session || $0.ended || !primaryIsAlive(at: now) } ?? true
    }

    /// The connection that one with `hello` replaces.
    package func replacedConnection(by hello: Hello, at now: Instant) -> ConnectionID? {
        yields(to: hello, at: now) ? live?.connection : nil
    }

    /// Takes one event at time `now` (boot clock) and appends what has to be done.
    package mutating func handle(
        _ event: StandbyEvent,
        at now: Instant,
        into effects: inout EffectBuffer<StandbyEffect>
    ) {
        switch event {
        case .hello(let hello, let memory, let connection): greet(hello, memory, connection, now, &effects)
        case .received(let message, let connection):
            guard live?.connection == connection else { return }
            live?.lastHeard = now
            received(message, connection, now, &effects)
        case .epochWhole(let epoch, let connection):
            guard let live, live.connection == connection, !live.ended else { return }
            self.live?.lastHeard = now
            commit(epoch, live, &effects)
        case .violation(let text, let connection):
            refuse(.violation, text, connection, &effects)
            lose(connection, text, now, &effects)
        case .failure(let reason, let text, let connection):
            refuse(reason, text, connection, &effects)
            lose(connection, text, now, &effects)
        case .dataReceived(let connection), .notListening(let connection):
            guard live?.connection == connection else { return }
            live?.lastHeard = now
        case .imageLost(let text): loseImage(text, now, &effects)
        case .connectionLost(let connection): lose(connection, "the connection was lost", now, &effects)
        case .activationFailed(let again): activateAt = again ? now + .seconds(2) : nil
        case .tick: break
        }
        passTime(now, &effects)
    }

    private mutating func passTime(_ now: Instant, _ effects: inout EffectBuffer<StandbyEffect>) {
        guard let live else { return passAutomaticActivation(now, &effects) }
        if isSilent(live, at: now) {
            effects.append(.close(live.connection))
            lose(live.connection, "the primary went silent", isSilence: true, now, &effects)
        } else if now >= live.nextBeat {
            self.live?.nextBeat = now + heartbeat
            self.live?.beatNumber += 1
            let beat = Heartbeat(number: live.beatNumber + 1, sentAt: now)
            effects.append(.send(.heartbeat(beat), on: live.connection))
        }
    }

    // MARK: Beginning

    /// Why a hello is refused whatever there is room for; nil if nothing stands against it.
    package func refusal(of hello: Hello, at now: Instant) -> Refusal? {
        func refusal(_ reason: RefusalReason, _ text: String) -> Refusal {
            Refusal(reason: reason, generation: facts.generation, text: text)
        }
        guard ProtocolVersion.common(oldest: hello.oldestVersion, newest: hello.newestVersion) != nil else {
            return refusal(.noCommonVersion, "no common protocol version")
        }
        guard takesUnacknowledged || !hello.unacknowledged else {
            let text = """
                it is an xl, which waits for no acknowledgement: what its guest's clients see may be newer than any image \
                here; remusd standby takes such a peer with --unsafe-peer only
                """
            return refusal(.unsafePeer, text)
        }
        // A grant is permanent: a primary that still holds its output has shown nobody anything newer than the image
        // that was granted, however often it was started anew. One that went on alone has.
        let outranks = hello.generation > facts.generation && !hello.imageStillValid
        // What was granted ran and has ended: a guest that holds nothing was begun anew, and takes a higher generation.
        let isOver = !runsHere && image == nil && !hello.imageStillValid
        if runsHere || facts.state == .active && !outranks && !isOver {
            let text = "the guest is active here at generation \(facts.generation)"
            return refusal(.active, text)
        }
        // An xl knows no arbiter; its guest is activated by hand only.
        guard hello.unacknowledged || hello.arbiter == arbiter?.name else {
            let text = """
                the primary's arbiter is \(hello.arbiter ?? "none"), this standby's is \(arbiter?.name ?? "none"): both sides \
                must be started with the same --arbiter
                """
            return refusal(.arbiterDiffers, text)
        }
        // What waits for no ack has no record of its own, and never goes on with a session.
        let lowest = hello.unacknowledged ? facts.generation + 1 : facts.generation
        guard hello.generation >= lowest, facts.state != .active || outranks else {
            let text =
                "generation \(facts.generation) of this guest is known here, yours is \(hello.generation)"
            return refusal(.generationTooLow, text)
        }
        guard !isAsking, yields(to: hello, at: now) else {
            if isAsking { return refusal(.busy, "an activation waits for the arbiter's answer") }
            return refusal(.busy, "another primary replicates this guest now")
        }
        return nil
    }

    private mutating func greet(
        _ hello: Hello,
        _ memory: MemoryVerdict,
        _ connection: ConnectionID,
        _ now: Instant,
        _ effects: inout EffectBuffer<StandbyEffect>
    ) {
        postponeActivation(now)
        if let refusal = refusal(of: hello, at: now) {
            return refuse(refusal.reason, refusal.text, connection, &effects)
        }
        if let live {
            // The same session from a new connection replaces the old one, whose end was not seen yet.
            effects.append(.close(live.connection))
            lose(live.connection, "replaced by a new connection", now, &effects)
        }
        let resumes = image.map { $0.session == hello.session && $0.generation == hello.generation } ?? false
        let keepsOlder = !resumes && image != nil && hello.imageStillValid && !imageIsExclusive
        if !resumes, !memory.fits {
            let text = """
                the guest needs \(memory.needed) bytes, \(memory.used) of the memory ceiling of \(memory.ceiling) are \
                used: raise --memory-ceiling or protect fewer guests here
                """
            return refuse(.noMemory, text, connection, &effects)
        }
        if resumes {
            // Whoever speaks has not crashed, and what is acknowledged next must be found by a later daemon.
            store(remembering(hello, .image), &effects)
        } else {
            prepareForNewSession(hello, keepsOlder: keepsOlder, &effects)
        }
        let committed = resumes ? image?.epoch : nil
        live = Live(
            connection: connection,
            hello: hello,
            awaited: committed.map { $0 + 1 } ?? 0,
            lastHeard: now,
            lastEchoedBeat: now,
            nextBeat: now + heartbeat
        )
        (lostReason, activateAt) = (nil, nil)
        if let committed {
            effects.append(.continueImage(after: committed))
        } else {
            effects.append(.beginImage)
        }
        effects.append(.report(.sessionStarted(host: hello.host, resumedAfter: committed)))
        let welcome = Welcome(
            version: ProtocolVersion.common(oldest: hello.oldestVersion, newest: hello.newestVersion)
                ?? ProtocolVersion.oldest,
            committedEpoch: committed,
            keepsOlderImage: keepsOlder,
            memoryCeiling: memory.ceiling,
            memoryUsed: memory.used,
            host: host
        )
        effects.append(.send(.welcome(welcome), on: connection))
    }

    /// Durably: this generation is the highest, and an image that the guest has outrun is gone.
    private mutating func prepareForNewSession(
        _ hello: Hello,
        keepsOlder: Bool,
        _ effects: inout EffectBuffer<StandbyEffect>
    ) {
        // A guest that had crashed runs again: its image needs somebody's word once more.
        store(remembering(hello, keepsOlder ? .image : .dropped), &effects)
        if !keepsOlder, image != nil {
            image = nil
            effects.append(.dropImage)
        }
    }

    private mutating func store(_ next: StandbyFacts, _ effects: inout EffectBuffer<StandbyEffect>) {
        guard next != facts else { return }
        facts = next
        effects.append(.store(next))
    }

    private func refuse(
        _ reason: RefusalReason,
        _ text: String,
        _ connection: ConnectionID,
        _ effects: inout EffectBuffer<StandbyEffect>
    ) {
        let refusal = Refusal(reason: reason, generation: facts.generation, text: text)
        effects.append(.report(.refused(reason, text)))
        effects.append(.send(.refuse(refusal), on: connection))
        effects.append(.close(connection))
    }

    // MARK: Running

    private mutating func received(
        _ message: Message,
        _ connection: ConnectionID,
        _ now: Instant,
        _ effects: inout EffectBuffer<StandbyEffect>
    ) {
        switch message {
        case .heartbeat(let beat): effects.append(.send(.heartbeatEcho(beat), on: connection))
        case .heartbeatEcho(let beat):
            // An echo cannot be newer than now, whatever the peer says.
            guard beat.sentAt <= now else { return }
            if let live { self.live?.lastEchoedBeat = max(live.lastEchoedBeat, beat.sentAt) }
            if let last = image?.lastEchoedBeat, beat.sentAt > last {
                image?.lastEchoedBeat = beat.sentAt
                effects.append(.noteEchoedBeat(beat.sentAt))
            }
        case .plannedEnd(let end): plannedEnd(end, connection, now, &effects)
        case .hello, .welcome, .refuse, .epochEnd, .ack, .plannedEndAnswer, .inquiry, .claim:
            let text = "an unexpected \(message.type) message"
            refuse(.violation, text, connection, &effects)
            lose(connection, text, now, &effects)
        }
    }

    private mutating func commit(_ epoch: UInt64, _ live: Live, _ effects: inout EffectBuffer<StandbyEffect>)
    {
        guard epoch == live.awaited else { return }
        effects.append(.seal(epoch: epoch))
        if epoch == 0 {
            image = ImageFacts(
                generation: live.hello.generation,
                session: live.hello.session,
                epoch: 0,
                aloneAfter: live.hello.aloneAfter,
                primaryHost: live.hello.host,
                lastEchoedBeat: live.lastEchoedBeat,
                unacknowledged: live.hello.unacknowledged,
                hasUnreplicatedDisk: live.hello.hasUnreplicatedDisk
            )
            facts = remembering(live.hello, .image)
            effects.append(.noteEchoedBeat(live.lastEchoedBeat))
            effects.append(.adoptIncoming)
            effects.append(.store(facts))
            effects.append(.report(.imageCommitted(generation: facts.generation)))
        } else {
            image?.epoch = epoch
        }
        self.live?.awaited = epoch + 1
        effects.append(.send(.ack(epoch: epoch), on: live.connection))
        if epoch > 0 { effects.append(.apply(epoch: epoch)) }
    }

    // MARK: Ends

    private mutating func plannedEnd(
        _ end: PlannedEnd,
        _ connection: ConnectionID,
        _ now: Instant,
        _ effects: inout EffectBuffer<StandbyEffect>
    ) {
        guard let live, end.generation == live.hello.generation + 1 else {
            let text = "a planned end of another generation"
            refuse(.violation, text, connection, &effects)
            return lose(connection, text, now, &effects)
        }
        let answer: PlannedEndAnswer
        if end.reason == .crashed, image != nil {
            answer = .kept
            // The generation stays the image's own: the guest is gone, nothing newer exists.
            facts.state = .crashed
            effects.append(.store(facts))
        } else {
            answer = .dropped
            facts = StandbyFacts(state: .dropped, generation: end.generation, arbiter: facts.arbiter)
            effects.append(.store(facts))
            if image != nil {
                image = nil
                effects.append(.dropImage)
            }
        }
        self.live?.ended = true
        effects.append(.discardIncoming)
        effects.append(.report(.plannedEnd(end.reason)))
        effects.append(.send(.plannedEndAnswer(answer, generation: end.generation), on: connection))
    }

    private mutating func loseImage(
        _ reason: String,
        _ now: Instant,
        _ effects: inout EffectBuffer<StandbyEffect>
    ) {
        guard image != nil else { return }
        image = nil
        effects.append(.dropImage)
        if let live, live.awaited > 0, !live.ended {
            refuse(.failure, reason, live.connection, &effects)
            lose(live.connection, reason, now, &effects)
        } else {
            effects.append(.report(.sessionLost(reason)))
        }
    }

    private mutating func lose(
        _ connection: ConnectionID,
        _ reason: String,
        isSilence: Bool = false,
        _ now: Instant,
        _ effects: inout EffectBuffer<StandbyEffect>
    ) {
        guard let live, live.connection == connection else { return }
        self.live = nil
        effects.append(.discardIncoming)
        if !live.ended {
            lostAt = now
            lostReason = reason
            if activatesByItself { activateAt = isSilence ? now : live.lastHeard + patience(of: live.hello) }
            effects.append(.report(.sessionLost(reason)))
        }
    }
}
