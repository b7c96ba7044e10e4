import Checkpoint

/// Drives a `StandbyMachine` the way the daemon does: with a record, a guardian and images that are not there, each of
/// which may fail, and which outlive the daemon.
final class StandbyUnderTest {
    /// An image, as far as it matters: which of the guest's output its state has seen.
    struct Image {
        var facts: ImageFacts
        var covers: Int
    }

    private(set) var machine: StandbyMachine
    /// What is on disk.
    private(set) var durable = StandbyFacts()
    /// What the guardian holds, for the next daemon.
    private(set) var kept: Image?
    private(set) var image: Image?
    private var incoming: Image?
    private var hello: Hello?
    private var covers = 0

    var storeFails = false
    var guardianFails = false
    /// What is to be sent, and connections to be closed.
    var outgoing: [(message: Message, connection: ConnectionID)] = []
    var closing: [ConnectionID] = []

    private static let suspectAfter = TimeSpan.seconds(1)

    init() { machine = Self.daemon(durable, nil) }

    private static func daemon(_ facts: StandbyFacts, _ image: Image?) -> StandbyMachine {
        StandbyMachine(facts: facts, image: image?.facts, host: "beta", suspectAfter: suspectAfter)
    }

    /// The daemon dies and another adopts what is left; with `guardian` that dies too.
    func restart(guardian: Bool) {
        if guardian { kept = nil }
        let (facts, keepsImage) = durable.adopting(kept?.facts)
        if !keepsImage { kept = nil }
        image = kept
        incoming = nil
        machine = Self.daemon(facts, image)
        outgoing.removeAll()
        closing.removeAll()
    }

    /// Feeds one event and does what the machine wants.
    func handle(_ event: StandbyEvent, at now: Instant) {
        var effects = EffectBuffer<StandbyEffect>()
        if case .hello(let hello, _, _) = event { self.hello = hello }
        machine.handle(event, at: now, into: &effects)
        for effect in effects.effects {
            guard perform(effect) else {
                machine.undo(durable: durable, image: image?.facts)
                if let connection = event.connection {
                    handle(.failure(.failure, "an effect failed", on: connection), at: now)
                    handle(.connectionLost(connection), at: now)
                }
                return
            }
        }
    }

    /// A whole epoch that was made when the guest had said `covers`.
    func receiveEpoch(_ epoch: UInt64, covers: Int, on connection: ConnectionID, at now: Instant) {
        self.covers = covers
        handle(.epochWhole(epoch, on: connection), at: now)
    }

    /// The image as it would be activated, if `order` may do it, the primary being off since `now`.
    func activatable(_ order: ActivationOrder, at now: Instant) -> Image? {
        var machine = machine
        var effects = EffectBuffer<StandbyEffect>()
        if let live = machine.liveConnection {
            machine.handle(.connectionLost(live), at: now, into: &effects)
        }
        guard case .allowed = machine.decide(order, primaryGoneSince: nil, at: now) else { return nil }
        return image
    }

    /// False if the effect failed.
    private func perform(_ effect: StandbyEffect) -> Bool {
        switch effect {
        case .send(let message, let connection): outgoing.append((message, connection))
        case .close(let connection): closing.append(connection)
        case .store(let facts):
            if storeFails { return false }
            durable = facts
        case .beginImage:
            guard let hello else { return false }
            incoming = Image(
                facts: ImageFacts(
                    generation: hello.generation,
                    session: hello.session,
                    epoch: 0,
                    aloneAfter: hello.aloneAfter,
                    primaryHost: hello.host,
                    lastEchoedBeat: Instant(nanoseconds: 0)
                ),
                covers: 0
            )
        case .continueImage, .apply, .report, .activate: break
        case .discardIncoming: incoming = nil
        case .adoptIncoming:
            if guardianFails { return false }
            image = incoming
            kept = incoming
            incoming = nil
        case .seal(let epoch):
            if epoch == 0 {
                incoming?.covers = covers
            } else {
                image?.facts.epoch = epoch
                image?.covers = covers
                kept = image
            }
        case .dropImage:
            image = nil
            // A guardian that does not answer may hold it still.
            if !guardianFails { kept = nil }
        case .noteEchoedBeat(let beat):
            incoming?.facts.lastEchoedBeat = beat
            image?.facts.lastEchoedBeat = beat
            kept = kept == nil ? nil : image ?? kept
        }
        return true
    }
}
