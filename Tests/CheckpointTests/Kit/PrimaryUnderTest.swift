import Checkpoint
import Testing

/// What a primary hands to its connection.
enum Outgoing: Equatable {
    case message(Message, session: UInt64)
    /// Pages of an epoch, sent while the guest runs.
    case piece(session: UInt64)
    /// The rest of an epoch, whose state the guest had after `covers` of output.
    case epoch(UInt64, session: UInt64, covers: Int)
}

/// Drives a `ProtectMachine` the way the daemon's engine does, with a guest and a plug that are not there, and watches
/// the promises after every effect.
final class PrimaryUnderTest {
    private(set) var machine: ProtectMachine
    var now = Instant(nanoseconds: 1_000_000_000_000)
    private(set) var plug: FakePlug
    /// How much the guest has said so far.
    private(set) var output = 0
    private(set) var isSuspended = false
    /// It is paused, by the machine's order.
    private(set) var standsStill = false
    private(set) var result: ProtectResult?
    /// The newest generation that is durable.
    private(set) var stored: UInt64

    /// How the next harvests end.
    var harvest = HarvestResult.whole(pages: 10)
    /// What a suspend request is answered with, nil: not yet.
    var suspendAnswer: SuspendOutcome? = .suspended
    var storeFails = false
    var cutFails = false
    var resumeFails = false
    /// Told of each effect before it is carried out.
    var onEffect: ((ProtectEffect) -> Void)?

    private(set) var effects: [ProtectEffect] = []
    private(set) var reports: [ProtectReport] = []
    /// Not taken by the peer yet.
    var outgoing: [Outgoing] = []
    /// Counts connection attempts; nil while there is no connection.
    private(set) var connection: Int?
    private(set) var attempts = 0
    /// Promises broken; the first breaks the test at once unless somebody collects them.
    private(set) var broken: [String] = []
    private let collects: Bool
    private let settings: ProtectSettings
    /// The longest alone-after that an image may trust.
    private var aloneAfter: TimeSpan
    private var imageElsewhere: Bool
    /// The number of the standby that this protect is told of.
    let standby: Int
    /// What the durable record says: the longest alone-after, and whose image output is held for.
    private(set) var recorded: (aloneAfter: TimeSpan, standby: Int)
    /// What the durable record says of this copy's being outdated.
    private(set) var outdatedBy: UInt64?

    private var buffer = EffectBuffer<ProtectEffect>()
    private var events: [ProtectEvent] = []
    private(set) var asksToSuspend = false
    private(set) var syncRound: UInt64?
    private var unstored: (generation: UInt64, event: ProtectEvent)?
    /// What the record says of the arbiter's.
    private(set) var arbiter: ArbiterFacts?
    /// What the arbiter was asked, in order.
    private(set) var asked: [GrantRequest] = []
    /// What is granted, or vouched for, and so permits to go on alone.
    private var permitted: Set<UInt64> = []
    private var wishes: UInt64 = 0
    private var unstoredOutdated: UInt64?
    private var retryStoreAt = Instant(nanoseconds: 0)
    private var harvestWasWhole = false
    private var mustResume = false
    /// A resume failed; the daemon goes on trying when the machine has finished.
    private var resumeOwed = false
    private var staged: (covers: Int, pieceOn: Int?)?
    /// The connection over which pages of the running epoch went ahead.
    private var pieceOn: Int?
    private var ackNow: UInt64?
    private var mayReleaseAll = false
    private var lastEcho: Instant?
    private var announced = false
    private var nextBeat = Instant(nanoseconds: 0)

    init(
        _ settings: ProtectSettings = ProtectSettings(),
        generation: UInt64 = 5,
        plugWasClosed: Bool = false,
        imageElsewhere: Bool = false,
        recordedAloneAfter: TimeSpan? = nil,
        collects: Bool = false
    ) {
        machine = ProtectMachine(settings: settings, generation: generation, session: 9)
        plug = FakePlug(holds: plugWasClosed)
        self.collects = collects
        self.settings = settings
        self.imageElsewhere = imageElsewhere
        stored = generation
        standby = 0
        aloneAfter = max(settings.aloneAfter, recordedAloneAfter ?? settings.aloneAfter)
        recorded = (aloneAfter, imageElsewhere ? -1 : 0)
        if settings.arbitration.decides {
            arbiter = ArbiterFacts(name: "a", granted: generation, usedBefore: generation > 0)
        }
        begin()
    }

    /// Another `protect` of the same guest, over the plug that its dead `predecessor` left.
    init(
        after predecessor: PrimaryUnderTest,
        session: UInt64,
        at now: Instant,
        aloneAfter: TimeSpan? = nil,
        standby: Int = 0
    ) {
        // Where an arbiter decides, it is granted first.
        stored = predecessor.stored + (predecessor.settings.arbitration.decides ? 0 : 1)
        arbiter = predecessor.arbiter
        wishes = predecessor.wishes
        var settings = predecessor.settings
        settings.aloneAfter = aloneAfter ?? settings.aloneAfter
        self.settings = settings
        machine = ProtectMachine(settings: settings, generation: stored, session: session)
        plug = predecessor.plug
        output = predecessor.output
        collects = predecessor.collects
        self.standby = standby
        // What the daemon's record keeps, and writes before it says hello.
        let old = predecessor.recorded
        imageElsewhere = plug.holds && old.standby != standby
        outdatedBy = plug.holds ? predecessor.outdatedBy : nil
        self.aloneAfter = plug.holds ? max(old.aloneAfter, settings.aloneAfter) : settings.aloneAfter
        recorded = (self.aloneAfter, imageElsewhere ? old.standby : standby)
        self.now = now
        begin()
    }

    private func begin() {
        // A predecessor may have echoed until now.
        if plug.holds { lastEcho = now }
        dispatch(
            .start(
                plugWasClosed: plug.holds,
                imageElsewhere: imageElsewhere,
                recordedAloneAfter: plug.holds ? aloneAfter : nil,
                outdatedBy: outdatedBy
            )
        )
    }

    var state: ProtectState { machine.status.state }
    var visible: Int { plug.visible(of: output) }

    // MARK: Driving

    func dispatch(_ event: ProtectEvent) {
        events.append(event)
        guard events.count == 1 else { return }
        var index = 0
        while index < events.count {
            let event = events[index]
            index += 1
            permit(event)
            let over = result != nil
            machine.handle(event, at: now, into: &buffer)
            if over, !buffer.effects.isEmpty { breaks("effects after the end: \(buffer.effects)") }
            for effect in buffer.effects { perform(effect) }
            buffer.clear()
        }
        events.removeAll()
        if result != nil, isSuspended, !resumeOwed { breaks("the guest is left suspended") }
        if standsStill != machine.standsStill { breaks("the guest is \(standsStill ? "" : "not ")paused") }
        if standsStill, let result {
            if case .outdated = result {} else { breaks("the guest is left paused") }
        }
    }

    /// Lets time pass: the guest runs, and the loop comes round once.
    func advance(_ time: TimeSpan) {
        now = now + time
        turn()
    }

    /// Time passes, and nobody protects: a guest whose controller is gone resumes by itself.
    func passWithoutProtect(_ time: TimeSpan, guestRuns: Bool) {
        now = now + time
        isSuspended = false
        connection = nil
        outgoing.removeAll()
        if guestRuns { output += 1 }
    }

    /// One turn of the loop.
    func turn() {
        if !isSuspended, !standsStill { output += 1 }
        answerSuspend()
        if result != nil, resumeOwed, !resumeFails { (isSuspended, resumeOwed) = (false, false) }
        if let unstored, now >= retryStoreAt { store(unstored.generation, unstored.event) }
        if let unstoredOutdated, !storeFails { (outdatedBy, self.unstoredOutdated) = (unstoredOutdated, nil) }
        dispatch(.tick)
        if syncRound != nil, connection != nil {
            syncRound = nil
            outgoing.append(.piece(session: machine.session))
            pieceOn = connection
            dispatch(.syncRoundSent(pages: 1))
        }
    }

    /// Lets time pass in small steps; with `beating` the standby beats.
    func run(_ time: TimeSpan, step: TimeSpan = .milliseconds(10), beating: Bool = false) {
        let end = now + time
        while now < end, result == nil {
            if beating, now >= nextBeat {
                nextBeat = now + .milliseconds(100)
                beat()
            }
            advance(min(step, end - now))
        }
    }

    private func answerSuspend() {
        guard asksToSuspend, let answer = suspendAnswer else { return }
        asksToSuspend = false
        if answer == .suspended { isSuspended = true }
        dispatch(.suspendFinished(answer))
    }

    /// The guest asks for a sweep instead of suspending.
    func wantsSweep() {
        asksToSuspend = false
        dispatch(.sweepWanted)
    }

    /// A suspend that comes although nobody waits for it any more.
    func suspendsTooLate() {
        asksToSuspend = false
        isSuspended = true
        dispatch(.suspendFinished(.suspended))
    }

    /// It suspends, and that is noticed later.
    func suspends(since: Instant, tellingAfter delay: TimeSpan) {
        asksToSuspend = false
        isSuspended = true
        now = now + delay
        dispatch(.suspendFinished(.suspended, since: since))
    }

    func loseConnection(_ loss: LinkLoss = .reset("cut")) {
        connection = nil
        syncRound = nil
        dispatch(.linkLost(loss))
    }

    // MARK: Effects

    private func permit(_ event: ProtectEvent) {
        ackNow = nil
        mayReleaseAll = false
        switch event {
        case .received(.ack(let epoch)):
            ackNow = epoch
            // The older image is replaced by one that came with our hello.
            if epoch == machine.status.sent, machine.status.acked == nil { aloneAfter = settings.aloneAfter }
        case .received(.welcome(let welcome)):
            ackNow = welcome.committedEpoch
            mayReleaseAll = welcome.committedEpoch == nil && !welcome.keepsOlderImage
        case .received(.plannedEndAnswer(_, let generation)):
            mayReleaseAll = announced && generation == machine.status.generation + 1
        case .received(.refuse(let refusal)):
            mayReleaseAll =
                announced && refusal.reason == .generationTooLow
                && refusal.generation == machine.status.generation + 1
        case .generationStored(let generation):
            let silence = lastEcho.map { now - $0 }
            let isLongEnough = silence.map { $0 >= aloneAfter } ?? true
            mayReleaseAll =
                generation > machine.status.generation
                && (settings.arbitration == .preferPrimary
                    ? isLongEnough || permitted.contains(generation) : permitted.contains(generation))
            if mayReleaseAll { imageElsewhere = false }
        // A first cut that failed is undone: nothing was held before it.
        case .failed: mayReleaseAll = !machine.status.plugClosed
        default: break
        }
    }

    private func perform(_ effect: ProtectEffect) {
        if result != nil { breaks("\(effect) after the end") }
        effects.append(effect)
        onEffect?(effect)
        if mustResume { checkAfterCut(effect) }
        switch effect {
        case .connect:
            if imageElsewhere { breaks("a connection while an image elsewhere may be activated") }
            attempts += 1
            connection = attempts
            outgoing.removeAll()
        case .disconnect:
            connection = nil
            syncRound = nil
        case .sendHello(let generation, let session, let acked, let valid):
            let hello = Sample.hello(
                generation: generation,
                session: session,
                acked: acked,
                imageStillValid: valid,
                aloneAfter: settings.aloneAfter
            )
            send(.hello(hello))
        case .send(let message):
            if case .heartbeatEcho = message { lastEcho = now }
            if case .plannedEnd = message { announced = true }
            send(message)
        case .startTracking, .stopTracking: break
        case .syncRound(let epoch, let whole):
            if whole { pieceOn = nil }
            syncRound = epoch
        case .requeueSentPages: (pieceOn, syncRound) = (nil, nil)
        case .pauseGuest:
            if standsStill { breaks("a pause of a paused guest") }
            standsStill = true
        case .unpauseGuest:
            if !standsStill { breaks("an unpause of a guest that is not paused") }
            standsStill = false
        case .suspend:
            if standsStill { breaks("a suspend of a paused guest") }
            if let closed = plug.closed { breaks("a suspend while epoch \(closed.epoch) is un-acknowledged") }
            if imageElsewhere { breaks("a checkpoint while an image elsewhere may be activated") }
            if isSuspended || asksToSuspend { breaks("a suspend within a suspend") }
            asksToSuspend = true
        case .harvest:
            if !isSuspended { breaks("a harvest of a running guest") }
            if case .whole = harvest { harvestWasWhole = true } else { harvestWasWhole = false }
            staged = (output, pieceOn)
            events.append(.harvested(harvest))
        case .cut(let epoch): cut(epoch)
        case .resume: resume()
        case .sendEpoch(let epoch): sendEpoch(epoch)
        case .release(let epoch):
            if ackNow != epoch { breaks("release of epoch \(epoch) without its acknowledgement") }
            if !plug.release(epoch) { breaks("release of epoch \(epoch), which is not the closed one") }
            pieceOn = nil
        case .absorb: plug.absorb()
        case .releaseAll:
            if !mayReleaseAll { breaks("everything released without permission") }
            if outdatedBy != nil { breaks("an outdated copy's output released") }
            plug.releaseAll(at: output)
        case .dropAll: plug.dropAll()
        case .storeGeneration(let generation): store(generation, .generationStored(generation))
        case .storeWish(let generation): wish(for: generation)
        case .askArbiter(let request):
            if arbiter?.wish != request.wanted { breaks("asked for what is not durable") }
            if settings.standsStill, plug.holds, machine.link != .up, !standsStill {
                breaks("asked while the guest may write to its disk")
            }
            asked.append(request)
        case .storeGrant(let record):
            permitted.insert(record.generation)
            arbiter?.noteGrant(record)
            store(record.generation, .generationStored(record.generation))
        case .storeContinuation(let generation):
            permitted.insert(generation)
            arbiter?.noteWord()
            store(generation, .generationStored(generation))
        case .storePrevailing(let other): arbiter = ArbiterFacts(name: "a", granted: other)
        case .storeAloneAfter:
            if mustResume || isSuspended { breaks("the record is written within a pause") }
            recorded = (settings.aloneAfter, standby)
        case .storeOutdated(let generation):
            if storeFails { unstoredOutdated = generation } else { outdatedBy = generation }
        case .report(let report): reports.append(report)
        case .finish(let result):
            self.result = result
            // What was asked and not answered is withdrawn.
            asksToSuspend = false
        }
    }

    private func checkAfterCut(_ effect: ProtectEffect) {
        switch effect {
        case .resume: mustResume = false
        default: breaks("\(effect) between the cut and the resume")
        }
    }

    private func cut(_ epoch: UInt64) {
        if !harvestWasWhole || !isSuspended { breaks("cut \(epoch) without a harvest") }
        harvestWasWhole = false
        guard !cutFails else { return events.append(.failed("cut")) }
        if !plug.cut(epoch, at: output) { breaks("cut \(epoch) while another epoch is closed") }
        mustResume = true
        events.append(.cut)
    }

    private func resume() {
        harvestWasWhole = false
        resumeOwed = resumeFails
        guard !resumeFails else { return events.append(.resumeFailed("resume")) }
        isSuspended = false
        events.append(.resumed)
    }

    private func sendEpoch(_ epoch: UInt64) {
        guard let staged, connection != nil else { return }
        if let piece = staged.pieceOn, piece != connection { breaks("half of epoch \(epoch) is sent") }
        outgoing.append(.epoch(epoch, session: machine.session, covers: staged.covers))
    }

    private func send(_ message: Message) {
        guard connection != nil else { return }
        outgoing.append(.message(message, session: machine.session))
    }

    private func store(_ generation: UInt64, _ event: ProtectEvent) {
        guard !storeFails else {
            unstored = (generation, event)
            retryStoreAt = now + .seconds(1)
            return
        }
        unstored = nil
        if case .generationStored = event {
            stored = generation
            recorded.standby = standby
        }
        dispatch(event)
    }

    private func wish(for generation: UInt64) {
        wishes += 1
        guard
            let request = arbiter?.wish(for: Sample.guest.uuid, generation, owner: "alpha", id: 1000 + wishes)
        else { return breaks("a wish without an arbiter") }
        store(stored, .wishStored(request))
    }

    private func breaks(_ promise: String) {
        broken.append(promise)
        if !collects { Issue.record("\(promise) (\(now))") }
    }
}
