import Checkpoint
import Logging
import Synchronization
import SystemSupport
import XenHost

/// What a starting standby finds: images that a guardian kept, records on disk, guests that run.
struct StandbyAdoption {
    private let options: StandbyOptions
    private var paths: Paths { options.paths }
    private let guardian: GuardianClient
    private let activator: any GuestActivator
    private let arbiter: StandbyArbiter?
    private let log: Logger

    init(
        _ options: StandbyOptions,
        _ guardian: GuardianClient,
        _ activator: any GuestActivator,
        _ arbiter: StandbyArbiter?,
        _ log: Logger
    ) {
        self.arbiter = arbiter
        self.options = options
        self.guardian = guardian
        self.activator = activator
        self.log = log
    }

    /// Every guest that is known here.
    func guests() throws -> [StandbyGuest] {
        var images: [GuestName: StoredImage] = [:]
        for (key, files) in try guardian.takeAll() {
            let name = try GuestName(key)
            do {
                images[name] = try adopt(files, name)
            } catch {
                log.error(
                    "the guardian's image cannot be adopted and is dropped: \(error)",
                    metadata: ["guest": "\(key)"]
                )
                guardian.drop(key)
            }
        }
        for name in paths.guestsWithWarmSocket() where images[name]?.warm == nil {
            // It belongs to no image that was committed.
            (try? options.warmGuest(name.text))?.drop()
        }
        let names = Set(images.keys).union(paths.guestsWithStandbyRecord())
        return try names.sorted().map { try guest($0, images[$0]) }
    }

    /// An image that the guardian kept, brought to its sealed epoch.
    private func adopt(_ files: [Descriptor], _ name: GuestName) throws -> StoredImage {
        var stored = try StoredImage.adopt(files)
        guard stored.image.isWarm, let epoch = stored.image.epoch else { return stored }
        let warm = try options.warmGuest(name.text)
        stored.warm = warm
        let (fed, stage) = try warm.ask()
        // Sealed, and perhaps acknowledged: fed already, or fed now.
        let isWhole = fed == epoch || (stage == .fed && epoch > 0 && fed == epoch - 1)
        guard isWhole else {
            warm.drop()
            let text = fed.map { "epoch \($0)" } ?? "nothing"
            throw ImageError("its domain holds \(text) where epoch \(epoch) was committed")
        }
        if fed == epoch { stored.image.noteApplied(epoch) } else { try stored.apply(epoch) {} }
        return stored
    }

    private func guest(_ name: GuestName, _ found: StoredImage?) throws -> StandbyGuest {
        let record = try StandbyRecord.load(from: paths.standbyRecord(name))
        var facts = record.map { StandbyFacts($0) } ?? StandbyFacts()
        let uuid = found?.image.uuid ?? record.flatMap { GuestUUID($0.uuid) }
        var image = found
        var running: ActivatedGuest?
        var trouble: String?
        if facts.state == .active {
            // A warm domain is its helper's to let run, or to end.
            let isWarm = image?.warm != nil
            let unfinished: UnfinishedStart? =
                isWarm
                ? nil
                : image.map {
                    $0.image.startAttempted ? .mayHaveRun : .notYetRun
                }
            running = uuid.flatMap { isWarm ? nil : $0 }.flatMap {
                activator.runningGuest(named: name.description, uuid: $0, unfinished: unfinished)
            }
            if running != nil {
                image = nil
            } else if image?.image.startAttempted == true, !isWarm {
                image = nil
                trouble = "the guest was started from its image and is not running any more"
            }
        } else {
            let adopted = facts.adopting(image?.facts)
            facts = adopted.facts
            if !adopted.keepsImage {
                image?.giveUp()
                image = nil
            }
        }
        if found != nil, image == nil { guardian.drop(name.description) }
        var machine = StandbyMachine(facts: facts, image: image?.facts, host: PrimaryIdentity.hostName)
        machine.runsHere = running != nil
        machine.takesUnacknowledged = options.unsafePeers
        let guest = StandbyGuest(
            name: name,
            paths: paths,
            guardian: guardian,
            machine: machine,
            image: image,
            warmer: options.warmStart,
            arbiter: arbiter,
            hooks: options.hooks
        )
        guest.state.withLock { state in
            state.uuid = uuid
            state.imageTrouble = trouble
            if let running {
                state.activated = running
                state.address = running.address.isEmpty ? record?.address ?? "" : running.address
            } else if let address = record?.address, image == nil {
                state.address = address
            }
        }
        guest.resumeHooks()
        if let image {
            log.notice(
                "adopted an image",
                metadata: [
                    "guest": "\(name)", "generation": "\(image.image.generation)",
                    "epoch": "\(image.image.epoch ?? 0)",
                ]
            )
        }
        return guest
    }
}
