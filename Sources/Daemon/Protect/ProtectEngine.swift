import Checkpoint
import Glibc
import Logging
import Synchronization
import SystemSupport
import Transport

/// Interprets one guest's `ProtectMachine` on a thread of its own: polls, copies, sends.
///
/// From suspend to ack everything happens here, without locks that anybody else holds for long, and without allocating.
///
/// Unchecked: everything but `mailbox`, `wakeUp` and `published` belongs to the thread that calls `run`.
package final class ProtectEngine: @unchecked Sendable {
    let guest: any ProtectedGuest
    let output: any OutputBuffer
    let options: ProtectOptions
    let log: Logger
    let records: GenerationStore
    private let start: PrimaryStart
    private let identity: PrimaryIdentity

    private(set) var machine: ProtectMachine
    var orders: OutputOrders
    /// A resume failed, and none has succeeded since.
    var resumeOwed = false
    var standstill = Standstill()
    private var effects = EffectBuffer<ProtectEffect>(capacity: 32)
    var events: [ProtectEvent] = []
    private var connection: PrimaryConnection?
    /// What is known of the link to the standby.
    var link = LinkWitness()
    /// Runs the operator's programs at what happens.
    let hooks: HookRunner?
    var tracker: HookTracker
    /// Of its `dataSent`, as the machine knows it.
    private var dataSent: UInt64 = 0
    /// How far its data had come, as the machine knows it.
    private var dataDelivered: UInt64 = 0
    let encoding: StreamEncoding
    private let stagingMemory: StagingMemory
    var harvester: Harvester
    var sweeps: SweepPolicy
    var tee: StreamTee?
    var unstored: UnstoredRecord?
    var arbiterWorker: ArbiterWorker?
    var retryStoreAt = Instant(nanoseconds: 0)
    /// The generation that outdated this copy, while the record does not say so.
    var unstoredOutdated: UInt64?

    /// What the output buffer said last, and when.
    var held = HeldOutput()
    var heldAt = Instant(nanoseconds: 0)
    var pauseBegan = Instant(nanoseconds: 0)
    private var cutAt = Instant(nanoseconds: 0)
    private var previousCut = Instant(nanoseconds: 0)
    private var cutEpoch: UInt64?
    /// The guest says how many pages are dirty, as far as is known.
    var countsDirty = true
    var guestEndSeen = false
    /// Until when a suspend request is waited for; nil while none is made.
    var suspendDeadline: Instant?
    private var result: ProtectResult?
    /// How it ended, once it has.
    var endReason: ProtectResult? { result }

    /// There is another processor for those who are waited for: a real-time engine would keep this one from them.
    private let hasCompany = ProcessorPin.online > 1
    private let wakeUp: EventFD
    private let mailbox = Mutex(ProtectMail())
    private let published: Mutex<Snapshot>

    /// An engine for `guest`, which it will not resume or release without the machine's word.
    /// - Parameters:
    ///   - start: what `records` began with; its generation is durable already.
    ///   - records: what this side must not forget.
    package init(
        guest: any ProtectedGuest,
        output: any OutputBuffer,
        options: ProtectOptions,
        identity: PrimaryIdentity,
        start: PrimaryStart,
        records: GenerationStore,
        hooks: HookRunner? = nil,
        log: Logger
    ) throws {
        self.guest = guest
        self.output = output
        self.options = options
        self.identity = identity
        self.log = log
        self.start = start
        self.records = records
        self.hooks = hooks
        tracker = HookTracker(told: start.outdatedBy == nil ? .unsettled : .outdated)
        orders = OutputOrders(output, every: options.settings.retry)
        let pages = guest.ramPages
        machine = ProtectMachine(
            settings: options.settings,
            generation: start.generation,
            session: UInt64.random(in: 1 ... .max >> 1)
        )
        // One record's worth at least, for the rounds that go while the guest runs.
        let stagingPages = max(options.stagingPages ?? pages, Staging.batch)
        let state = guest.stateCapacity + guest.description.config.count + 4096
        stagingMemory = try StagingMemory(
            capacity: Staging.capacity(pages: stagingPages, stateCapacity: state)
        )
        harvester = Harvester(guest: guest, memory: stagingMemory.bytes, stateCapacity: state)
        sweeps = SweepPolicy(from: options.settings.sweepsFrom)
        encoding = StreamEncoding(options.encoding, pageCount: guest.description.pageCount, log: log)
        wakeUp = try EventFD()
        events.reserveCapacity(32)
        published = Mutex(
            Snapshot(status: machine.status, since: Timestamp.now, at: Instant(nanoseconds: Clock.boot))
        )
    }

    /// The newest snapshot. Any thread.
    package var snapshot: Snapshot { published.withLock { $0 } }

    /// Ends protection in two phases. Any thread; `run` returns when it is done.
    package func requestUnprotect() { post { $0.unprotect = true } }

    /// Leaves word for the loop. Any thread.
    func post(_ body: (inout ProtectMail) -> Void) {
        mailbox.withLock { body(&$0) }
        wakeUp.signal()
    }

    var now: Instant { Instant(nanoseconds: Clock.boot) }

    // MARK: The loop

    /// Protects until a planned end; returns how it ended. The guest then runs, and nothing of ours is left behind.
    package func run() -> ProtectResult {
        do {
            if let path = options.tee { tee = try StreamTee(path: path) }
        } catch {
            log.error("no tee: \(error)")
        }
        dispatch(
            .start(
                plugWasClosed: output.wasClosed,
                imageElsewhere: start.imageElsewhere,
                recordedAloneAfter: start.recordedAloneAfter,
                outdatedBy: start.outdatedBy,
                isUnknown: start.isUnknown
            )
        )
        // A predecessor may have had it stand still.
        if !machine.standsStill { standStill(false) }
        while true {
            if let result {
                if suspendDeadline != nil { guest.cancelSuspend() }
                finishOrders()
                guest.letGo()
                closeOutput(after: result)
                publish(true)
                return result
            }
            publish(false)
            let wake = machine.nextWake(after: now)
            // Three at a time: of more, min() makes an array.
            let ours = min(suspendDeadline ?? wake, orders.retryAt ?? wake, nextAttention ?? wake)
            wait(until: min(wake, ours, nextLook ?? wake))
            for event in mailbox.withLock({ exchange(&$0, with: ProtectMail()) }).events { dispatch(event) }
            if !guestEndSeen, let end = guest.ended() {
                guestEndSeen = true
                // What ended by itself is not suspended.
                resumeOwed = false
                log.warning("the guest ended", metadata: ["reason": "\(end.rawValue)"])
                dispatch(.guestEnded(end))
            }
            if unstored != nil, now >= retryStoreAt { storeUnstored() }
            retryStoreOutdated()
            retryStandstill()
            retryOrder()
            attendOutput()
            countDirty()
            dispatch(.tick)
            pump()
        }
    }

    /// Waits for the socket, the guest, another thread, or the time.
    private func wait(until wake: Instant) {
        var entries = (
            Poll.Entry(wakeUp.descriptor.raw),
            Poll.Entry(guestEndSeen ? -1 : guest.eventDescriptor),
            Poll.Entry(connection?.descriptor ?? -1, writable: connection?.wantsToWrite ?? false),
            // Nothing that may take time begins while the guest is about to stand still.
            Poll.Entry(suspendDeadline == nil ? output.eventDescriptor : -1)
        )
        let isMore = connection?.mayHaveMore ?? false
        // Room in the socket, or an ack, comes soon; being woken takes as long as sending a small epoch. Each time it then sleeps, also
        // for ordinary threads that have no other processor.
        let looks: UInt64 = hasCompany && machine.work == .inFlight && connection != nil ? 100_000 : 0
        Poll.wait(&entries, nanoseconds: isMore ? 0 : (wake - now).nanoseconds, lookingFirst: looks)
        if entries.0.isReady { wakeUp.drain() }
        awaitSuspend()
        // Before the machine hears from the standby, and judges.
        noteProgress()
        if isMore || entries.2.isReady { progress(readable: isMore || entries.2.isReadable) }
    }

    /// Moves the connection on.
    private func progress(readable: Bool) {
        guard let connection else { return }
        do throws(ConnectionError) {
            if !connection.isConnected {
                do throws(ConnectionError) {
                    try connection.finishConnecting()
                } catch {
                    link.ended(error)
                    self.connection = nil
                    return dispatch(.linkLost(.connectFailed(error.description)))
                }
                guard connection.isConnected else { return }
                link.begins(at: now)
                return dispatch(.connected)
            }
            if readable {
                try connection.receive { message, session in
                    // What follows on a connection that was given up is not listened to.
                    guard self.connection === connection else { return }
                    if case .welcome(let welcome) = message, let peer = connection.peerHost,
                        welcome.host != peer
                    {
                        // Whoever holds one host's key does not speak for another.
                        let text = "the standby says it is \(welcome.host), and its key is that of \(peer)"
                        dropConnection()
                        dispatch(.linkLost(.violation(text)))
                    } else if session == machine.session || session == 0 {
                        link.heard(at: now)
                        if case .welcome(let welcome) = message {
                            note(welcome)
                            encoding.begin(on: connection, offered: welcome.encodings)
                        }
                        if case .refuse(let refusal) = message, refusal.reason == .violation {
                            encoding.wasRefused()
                        }
                        dispatch(.received(message))
                    } else {
                        dropConnection()
                        dispatch(.linkLost(.violation("a message of another session")))
                    }
                }
            }
            try self.connection?.flush()
        } catch {
            lose(error)
        }
    }

    private func lose(_ error: ConnectionError) {
        guard connection != nil else { return }
        link.ended(error)
        dropConnection()
        dispatch(.linkLost(.reset(error.description)))
    }

    private func dropConnection() {
        link.sees(connection)
        connection = nil
        harvester.endSync()
    }

    /// Tells the machine that more of an epoch has come to the standby's host since the last time.
    private func noteProgress() {
        guard let connection else { return }
        if connection.dataSent != dataSent {
            dataSent = connection.dataSent
            let (stream, wire) = encoding.sent(on: connection)
            meter { $0.recordSent(stream: stream, wire: wire) }
        }
        let delivered = connection.dataDelivered()
        guard delivered != dataDelivered else { return }
        dataDelivered = delivered
        dispatch(.epochAdvanced)
    }

    /// Hands over what can be sent next, and writes.
    private func pump() {
        while let connection, connection.isConnected {
            if connection.isDrained, harvester.isSyncing, !sendSyncPiece(connection) { return }
            do throws(ConnectionError) {
                try connection.flush()
            } catch {
                return lose(error)
            }
            if !harvester.isSyncing || !connection.isDrained { return }
        }
    }

    // MARK: Events and effects

    func dispatch(_ event: ProtectEvent) {
        events.append(event)
        // An effect's outcome is an event; it waits until the effects before it are done.
        guard events.count == 1 else { return }
        var index = 0
        while index < events.count {
            machine.handle(events[index], at: now, into: &effects)
            index += 1
            var next = 0
            while next < effects.effects.count {
                perform(effects.effects[next])
                next += 1
            }
            effects.clear()
        }
        events.removeAll(keepingCapacity: true)
    }

    private func perform(_ effect: ProtectEffect) {
        switch effect {
        case .connect: connect()
        case .disconnect: dropConnection()
        case .sendHello(let generation, let session, let acked, let valid):
            sendHello(generation, session, acked, valid)
        case .send(let message): queue(message)
        case .startTracking: attempt { () throws(GuestError) in try harvester.startTracking() }
        case .stopTracking: guest.stopDirtyTracking()
        case .syncRound(let epoch, let whole):
            if whole {
                tee?.restart(log)
                encoding.restart()
            }
            attempt { () throws(GuestError) in try harvester.beginSync(epoch: epoch, whole: whole) }
        case .requeueSentPages: harvester.requeueSentPages()
        case .suspend(let deadline): suspend(deadline)
        case .harvest(_, let deadline): harvest(deadline)
        case .cut(let epoch):
            attempt { () throws(GuestError) in
                try orders.cut(epoch: epoch)
                if cutEpoch != epoch { previousCut = cutAt }
                (cutEpoch, cutAt) = (epoch, now)
                tee?.began(epoch)
                harvester.cut()
                meter { $0.recordEpoch(pages: machine.stagedPages) }
                events.append(.cut)
            }
        case .resume: resume()
        case .sendEpoch(let epoch):
            meter { $0.pagesSent += machine.stagedPages }
            tee?.append(harvester.bytes, epoch: epoch, log)
            connection?.send(harvester.bytes, epoch: epoch, endsEpoch: true, records: harvester.records)
        case .pauseGuest: standStill(true)
        case .unpauseGuest: standStill(false)
        case .release(let epoch):
            order(.release(epoch: epoch))
            harvester.committed()
            encoding.commit()
            stagingMemory.prepare(after: harvester.bytes.count)
            let (commit, latency) = (now - cutAt, now - (epoch == 0 ? cutAt : previousCut))
            meter { $0.recordCommit(commit, latency: latency) }
        case .absorb: order(.absorb)
        case .releaseAll: order(.releaseAll)
        case .dropAll: order(.dropAll)
        case .storeGeneration, .storeWish, .storeGrant, .storeContinuation: store(effect)
        case .askArbiter(let request): askArbiter(request)
        case .storePrevailing(let other): records.prevail(over: other)
        case .storeAloneAfter: storeAloneAfter()
        case .storeOutdated(let generation): storeOutdated(generation)
        case .report(let report): self.report(report)
        case .finish(let result): self.result = result
        }
    }

    private func attempt(_ body: () throws(GuestError) -> Void) {
        do throws(GuestError) {
            try body()
        } catch {
            // A guest that is gone fails everything; its end is an event of its own.
            if guestEndSeen || guest.ended() != nil { return }
            events.append(Self.event(of: error))
        }
    }

    private func connect() {
        link.tries()
        do throws(SystemError) {
            connection = try options.makeConnection()
            connection?.limitKernel(aloneAfter: options.settings.aloneAfter)
        } catch {
            link.ended(error)
            events.append(.linkLost(.connectFailed(error.description)))
        }
    }

    private func queue(_ message: Message) {
        do throws(ConnectionError) {
            try connection?.queue(message, session: machine.session)
        } catch {
            dropConnection()
            events.append(.linkLost(.reset(error.description)))
        }
    }

    private func sendHello(_ generation: UInt64, _ session: UInt64, _ acked: UInt64?, _ valid: Bool) {
        let guestPages = guest.ramPages
        var populated = 0
        attempt { () throws(GuestError) in populated = try harvester.countPopulated() }
        var hello = Hello(
            guest: guest.description,
            generation: generation,
            session: session,
            ackedEpoch: acked,
            imageStillValid: valid,
            populatedPages: UInt64(populated),
            epochCapacity: UInt64(Staging.capacity(pages: 2 * guestPages, stateCapacity: 1 << 20)),
            aloneAfter: options.settings.aloneAfter,
            bootID: identity.bootID,
            host: identity.host,
            protectProcess: identity.protectProcess,
            guestProcess: identity.guestProcess
        )
        hello.arbiter = options.arbiterChoice?.name
        hello.hasUnreplicatedDisk = options.settings.hasUnreplicatedDisk
        queue(.hello(hello))
    }

    private func suspend(_ deadline: Instant) {
        countsDirty = true
        do throws(GuestError) {
            if try guest.wantsSweep() || sweeps.wantsSweep() { return events.append(.sweepWanted) }
            try guest.requestSuspend()
            suspendDeadline = deadline
            // Where it stands still by now, whatever else there is to do would come in its pause.
            if Poll.wait(guest.eventDescriptor, milliseconds: 0) { awaitSuspend() }
        } catch {
            if error.voidsTracking { return events.append(.trackingLost(error.description)) }
            log.warning("the guest cannot be suspended: \(error)")
            events.append(.suspendFinished(.refused))
        }
    }

    /// Sees what came of a suspend request. The guest stands still from the moment it has suspended: this goes first.
    private func awaitSuspend() {
        guard let deadline = suspendDeadline else { return }
        var outcome: SuspendOutcome?
        do throws(GuestError) {
            outcome = try guest.suspendOutcome()
        } catch {
            if error.voidsTracking {
                suspendDeadline = nil
                pauseBegan = now
                return dispatch(.trackingLost(error.description, inSuspend: true))
            }
            log.warning("the guest cannot be suspended: \(error)")
            outcome = .refused
        }
        if outcome == nil, now >= deadline {
            guest.cancelSuspend()
            outcome = .refused
        }
        guard let outcome else { return }
        suspendDeadline = nil
        pauseBegan = min(guest.suspendedSince ?? now, now)
        dispatch(.suspendFinished(outcome, since: pauseBegan))
    }

    // MARK: Status

    /// In place: a snapshot that was taken costs one copy, no more.
    func meter(_ body: (inout ProtectMeters) -> Void) { published.withLock { body(&$0.meters) } }

    func publish(_ last: Bool) {
        let time = now
        if last { held = output.held() }
        let status = machine.status
        let leaks = output.leaks
        published.withLock {
            if $0.status.state != status.state { $0.since = Timestamp.now }
            $0.status = status
            $0.transport = options.xlPeer == nil ? connection?.transport : nil
            $0.syncDone = harvester.syncDone
            $0.syncTotal = harvester.syncTotal
            $0.held = held
            $0.leaks = leaks
            $0.outputOwed = orders.owed != nil
            $0.resumeOwed = resumeOwed || standstill.owesRun
            $0.at = time
            if last { $0.result = result }
            $0.linkFailure = link.failure
            $0.lastContact = link.lastContact
        }
        tellHooks(status)
    }
}
