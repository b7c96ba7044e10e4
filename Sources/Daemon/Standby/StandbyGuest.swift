import Checkpoint
import Logging
import Synchronization
import SystemSupport
import Transport
import XenHost
import XenStream

/// Begins a guest's domain and says how it is reached; nil for a guest that is kept cold.
typealias WarmStart = @Sendable (GuestDescription) throws -> WarmGuest?

/// One guest's standby: interprets its `StandbyMachine`, owns its images.
///
/// Two locks. `state` is short and guards everything in `State`. `session` is held by whoever uses the image's memory
/// for longer: a replicating connection, or an activation. Nobody holds one guest's lock while taking another's.
final class StandbyGuest: Sendable {
    struct State {
        var machine: StandbyMachine
        /// What the record on disk says.
        var durable: StandbyFacts
        /// Where the two images' memory is counted.
        let memory: ImageMemory
        /// The committed image.
        var image: StoredImage? { didSet { memory.count(image?.storage, incoming?.storage) } }
        /// The one that receives epoch 0.
        var incoming: StoredImage? { didSet { memory.count(image?.storage, incoming?.storage) } }
        var connections: [ConnectionID: StandbyConnection] = [:]
        var uuid: GuestUUID?
        var address = ""
        /// The host that the image comes from.
        var primaryHost: String?
        /// What the primary, or the image, says of the guest.
        var description: GuestDescription?
        /// What would stand in the way of starting it here, when last asked.
        var outlook: ActivationOutlook?
        var activated: ActivatedGuest?
        var activating = false
        /// When this host saw the last of the primary's processes end.
        var primaryWatch: PrimaryWatch?
        var effects = EffectBuffer<StandbyEffect>()
        var imageTrouble: String?
        /// How the arbiter answered last.
        var lastAnswer: GrantAnswer?
        /// What is known of the link to the primary.
        var link = LinkWitness()
        /// How the connection of that number ended, where its own thread saw it.
        var connectionError: (id: ConnectionID, error: ConnectionError)?
        /// The planned end that was the last thing heard of the primary.
        var plannedEnd: PlannedEndReason?
        var tracker = HookTracker()
        /// An activation asks the hooks before it.
        var isAskingHooks = false

        /// Nothing is known of it but the name.
        var isNothing: Bool {
            machine.facts.generation == 0 && image == nil && incoming == nil && activated == nil
                && !activating && connections.isEmpty
        }
    }

    let name: GuestName
    let paths: Paths
    let guardian: GuardianClient
    /// Begins a guest's domain, if such guests are kept warm here.
    let warmer: WarmStart?
    let arbiter: StandbyArbiter?
    /// The operator's programs that are told what happens.
    let hooks: HookRunner?
    let log: Logger
    let state: Mutex<State>
    let session = Mutex(())
    private let memory = ImageMemory()
    /// Sessions that were given it and have not left it; changed under the service's lock only.
    let visits = Atomic<Int>(0)

    init(
        name: GuestName,
        paths: Paths,
        guardian: GuardianClient,
        machine: StandbyMachine,
        image: StoredImage?,
        warmer: WarmStart? = nil,
        arbiter: StandbyArbiter? = nil,
        hooks: HookOptions? = nil
    ) {
        var machine = machine
        Self.equip(&machine, with: arbiter)
        self.arbiter = arbiter
        self.name = name
        self.paths = paths
        self.guardian = guardian
        self.warmer = warmer
        var log = Logger(label: "standby")
        log[metadataKey: "guest"] = "\(name)"
        self.log = log
        self.hooks = hooks.map { HookRunner($0, paths, role: .standby, name, log) }
        memory.count(image?.storage, nil)
        var state = State(machine: machine, durable: machine.facts, memory: memory, image: image)
        state.uuid = image?.image.uuid
        state.address = image?.image.address ?? ""
        state.primaryHost =
            image?.image.primaryHost
            ?? (try? StandbyRecord.load(from: paths.standbyRecord(name)))?.primaryHost
        state.primaryWatch = image.map { PrimaryWatch($0.image) }
        state.description = image?.image.description
        // Heard of later than that, if at all.
        state.link = LinkWitness(lastContact: image?.image.lastEchoedBeat)
        self.state = Mutex(state)
    }

    static var now: Instant { Instant(nanoseconds: Clock.boot) }

    /// Memory that this guest's images really use. Every other guest's session asks: it takes no lock that is held for long.
    var usedBytes: UInt64 { memory.usedBytes }

    /// Feeds the machine one event and does what it wants; `applies` tells the epoch to apply, if any, which the caller
    /// does without the lock.
    func handle(_ event: StandbyEvent) throws -> UInt64? {
        let (applies, later) = try state.withLock { try handle(event, &$0) }
        if !later.isEmpty { try begin(event, later) }
        return applies
    }

    /// - Returns: the epoch to apply, and the effects from a `beginImage` on, which are not done yet.
    private func handle(_ event: StandbyEvent, _ state: inout State) throws
        -> (applies: UInt64?, later: [StandbyEffect])
    {
        state.effects.clear()
        noteContact(event, &state)
        state.machine.imageIsExclusive = state.image?.warm != nil
        state.machine.handle(event, at: Self.now, into: &state.effects)
        var applies: UInt64?
        var next = 0
        do {
            while next < state.effects.effects.count {
                let effect = state.effects.effects[next]
                if case .beginImage = effect, warmer != nil {
                    return (applies, Array(state.effects.effects[next...]))
                }
                next += 1
                if case .apply(let epoch) = effect {
                    applies = epoch
                } else {
                    try perform(effect, event, &state)
                }
            }
        } catch {
            undo(&state)
            throw error
        }
        tellHooks(&state)
        return (applies, [])
    }

    /// Nothing is promised, now or at the next hello, that did not come about.
    private func undo(_ state: inout State) {
        state.machine.undo(durable: state.durable, image: state.image?.facts)
    }

    /// Begins the guest's domain, which may take minutes, without `state`: whoever asks for the guest meanwhile gets an
    /// answer. Then does the rest of what its hello brought. Nobody else begins, feeds or activates an image meanwhile: the
    /// hello's thread has `session`.
    private func begin(_ event: StandbyEvent, _ effects: [StandbyEffect]) throws {
        guard case .hello(let hello, _, let id) = event else { return }
        let prepared = Result { try warmer?(hello.guest) }
        let warm = try? prepared.get()
        let isUsed = try state.withLock { state in
            // It was lost meanwhile, and the primary was told nothing.
            guard state.machine.liveConnection == id else { return false }
            do {
                _ = try prepared.get()
                for effect in effects { try perform(effect, event, &state, warm: warm) }
            } catch {
                undo(&state)
                if state.incoming?.warm == nil { warm?.giveUp() }
                throw error
            }
            tellHooks(&state)
            return true
        }
        if !isUsed { warm?.giveUp() }
    }

    private func perform(
        _ effect: StandbyEffect,
        _ event: StandbyEvent,
        _ state: inout State,
        warm: WarmGuest? = nil
    ) throws {
        switch effect {
        case .send(let message, let connection):
            let isLive = state.machine.liveConnection == connection
            let number = isLive ? state.machine.sessionNumber ?? 0 : 0
            // A peer that is gone is noticed by the connection's own thread.
            let stored = state.machine.isSyncing ? state.incoming : state.image
            let whole = Self.complete(message, for: stored?.image)
            try? state.connections[connection]?.send(whole, session: number)
        case .close(let connection):
            if event.connection == nil || event.connection == connection {
                state.link.sees(state.connections[connection])
            }
            state.connections[connection]?.shutDown()
        case .store(let facts): try store(facts, &state)
        case .beginImage:
            guard case .hello(let hello, _, _) = event else { return }
            state.incoming = try StoredImage.create(for: hello, warm: warm)
            noteHello(hello, &state)
        case .continueImage:
            guard case .hello(let hello, _, _) = event, let image = state.image else { return }
            image.image.notePrimary(hello)
            noteHello(hello, &state)
        case .discardIncoming:
            state.incoming?.giveUp()
            state.incoming = nil
        case .seal(let epoch):
            let stored = epoch == 0 ? state.incoming : state.image
            stored?.image.seal(epoch, length: sealedLength.load(ordering: .relaxed), at: Self.now)
        case .adoptIncoming:
            guard let incoming = state.incoming else { return }
            // The guardian has it before the primary is told.
            try guardian.hold(name.description, incoming.storage.files)
            state.image = incoming
            state.incoming = nil
            state.imageTrouble = nil
        case .dropImage:
            guardian.drop(name.description)
            state.image?.giveUp()
            state.image = nil
        case .noteEchoedBeat(let beat):
            state.incoming?.image.lastEchoedBeat = beat
            state.image?.image.lastEchoedBeat = beat
        case .report(let report):
            noteReport(report, event, &state)
            report.log(to: log, failure: state.link.failure)
        case .activate: beginActivation()
        case .apply: break
        }
    }

    /// A welcome says how pages may come for the image that it begins or goes on with.
    private static func complete(_ message: Message, for image: StandbyImage?) -> Message {
        guard case .welcome(var welcome) = message else { return message }
        welcome.encodings = image?.encodings ?? []
        return .welcome(welcome)
    }

    /// Bytes of the epoch that is about to be sealed; written and read by the session's thread.
    let sealedLength = Atomic<Int>(0)

    private func noteHello(_ hello: Hello, _ state: inout State) {
        state.uuid = hello.guest.uuid
        state.address = hello.guest.address
        state.primaryHost = hello.host
        state.description = hello.guest
        if state.primaryWatch?.watches(hello) != true { state.primaryWatch = PrimaryWatch(hello) }
    }

    /// Refuses what is refused in any case, at once and without waiting for whoever uses the image; else ends the
    /// connection that the new one takes the place of. One judgement: a hello that is refused here is over.
    func admits(_ hello: Hello, on id: ConnectionID) -> Bool {
        noticeEndOfGuest()
        return state.withLock { state in
            if let old = state.machine.replacedConnection(by: hello, at: Self.now) {
                state.connections[old]?.shutDown()
            }
            guard let refusal = state.machine.refusal(of: hello, at: Self.now) else { return true }
            StandbyReport.refused(refusal.reason, refusal.text).log(to: log)
            try? state.connections[id]?.send(.refuse(refusal), session: 0)
            state.connections[id]?.shutDown()
            return false
        }
    }

    func store(_ facts: StandbyFacts, _ state: inout State) throws {
        let address = state.activated?.address ?? ""
        let known = address.isEmpty ? state.address : address
        var record = StandbyRecord(
            guest: name.description,
            uuid: state.uuid?.description ?? "",
            generation: facts.generation,
            state: StandbyRecord.State(facts.state),
            activatedFrom: facts.activatedFrom,
            id: facts.activationID == 0 ? nil : String(facts.activationID, radix: 16),
            address: known.isEmpty ? nil : known
        )
        record.arbiter = facts.arbiter.map { ArbiterRecord($0) }
        record.primaryHost = state.primaryHost
        try record.store(at: paths.standbyRecord(name))
        state.durable = facts
    }
}

extension StandbyRecord.State {
    init(_ state: StandbyFacts.State) {
        switch state {
        case .dropped: self = .dropped
        case .image: self = .image
        case .crashed: self = .crashed
        case .active: self = .active
        }
    }
}

extension StandbyFacts {
    init(_ record: StandbyRecord) {
        let state: State
        switch record.state {
        case .dropped: state = .dropped
        case .image: state = .image
        case .crashed: state = .crashed
        case .active: state = .active
        }
        self.init(
            state: state,
            generation: record.generation,
            activationID: record.id.flatMap { UInt64($0, radix: 16) } ?? 0,
            activatedFrom: record.activatedFrom,
            arbiter: record.arbiter?.facts
        )
    }
}

extension StandbyReport {
    /// - Parameter failure: what a lost connection was judged to be.
    func log(to log: Logger, failure: LinkFailure? = nil) {
        switch self {
        case .sessionStarted(let host, let epoch?):
            log.notice("session resumed", metadata: ["primary": "\(host)", "epoch": "\(epoch)"])
        case .sessionStarted(let host, nil): log.notice("session started", metadata: ["primary": "\(host)"])
        case .sessionLost(let reason):
            log.warning(
                "session lost: \(LinkFailure.text(failure, of: "the primary", reason))",
                metadata: ["link_failure": "\(failure?.rawValue ?? "-")"]
            )
        case .imageCommitted(let generation):
            log.notice("image committed", metadata: ["generation": "\(generation)"])
        case .refused(let reason, let text):
            log.warning("refused: \(text)", metadata: ["reason": "\(reason)"])
        case .plannedEnd(let reason): log.notice("planned end", metadata: ["reason": "\(reason)"])
        }
    }
}
