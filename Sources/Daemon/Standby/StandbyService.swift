import Checkpoint
import EmbeddedHost
import Glibc
import Logging
import Synchronization
import SystemSupport
import Transport
import XenHost
import XenStream

/// What a standby is started with.
package struct StandbyOptions: Sendable {
    package var listen: SocketAddress
    /// Most memory for images and epochs; nil takes what is available at the start, less a tenth.
    package var memoryCeiling: UInt64?
    package var paths: Paths
    /// How connections are protected.
    package var security = LinkSecurity.plaintext
    /// Takes primaries that wait for no ack (docs/interop.md).
    package var unsafePeers = false
    /// Who grants what is activated; nil: nobody is asked.
    package var arbiter: (any Arbiter)?
    /// A guest whose primary is gone without a word is activated without being told to, if the arbiter grants it.
    package var activatesByItself = false
    /// The operator's programs that are told what happens.
    package var hooks = HookOptions()
    /// Begins a guest's domain, where guests are kept warm: nil keeps it cold.
    package var warmStart: (@Sendable (GuestDescription) throws -> WarmGuest?)?
    /// Finds the helper of a warm guest that an earlier daemon left.
    package var warmGuest: @Sendable (String) throws -> WarmGuest

    /// For a connection's handshake and its hello together.
    package var helloLimit = TimeSpan.seconds(5)
    package var log = Logger(label: "standby")

    package init(listen: SocketAddress, paths: Paths) {
        self.listen = listen
        self.paths = paths
        warmGuest = { throw GuestError(guest: $0, reason: "this standby keeps no guest warm") }
    }
}

extension StandbyOptions {
    /// What each guest is told of the arbiter.
    func standbyArbiter(_ activator: any GuestActivator) -> StandbyArbiter? {
        guard let arbiter else { return nil }
        var result = StandbyArbiter(arbiter: arbiter)
        if activatesByItself, arbiter.decides {
            result.activateByItself = { $0.endActivation($0.activate(ActivateRequest(), with: activator)) }
        }
        return result
    }
}

/// The standby daemon: listens for primaries, keeps their guests' images, activates them when told to.
package final class StandbyService: Sendable {
    /// An epoch larger than this gives its buffer's memory back once it is applied.
    static let trimAbove = 256 << 20
    /// Guests at once: each has a record on disk, which a peer must not multiply without end.
    private static let guestLimit = 4096
    /// Sessions at once; a peer beyond that is refused.
    private static let sessionLimit = 64

    package let options: StandbyOptions
    /// Where primaries connect, with the port the kernel chose.
    package let address: SocketAddress
    package let memoryCeiling: UInt64
    let activator: any GuestActivator
    let guardian: GuardianClient
    let arbiter: StandbyArbiter?
    private let listener: Descriptor
    private let stopping: EventFD
    private let guests: Mutex<KnownGuests>
    private let sessions = Atomic<Int>(0)
    /// Connections whose peers are not known yet.
    let door = Doorkeeper()
    let refusals: RefusalLog
    let peers: PeerBook
    private let outlook = StandbyOutlook()
    let nextConnection = Atomic<UInt64>(1)
    let log: Logger

    /// Adopts what a guardian kept of an earlier daemon, and listens.
    package init(_ options: StandbyOptions, activator: any GuestActivator) throws {
        self.options = options
        self.activator = activator
        log = options.log
        refusals = RefusalLog(options.log)
        peers = PeerBook(options.paths)
        listener = try TCP.listen(on: options.listen)
        try listener.setNonBlocking(true)
        address = try TCP.localAddress(of: listener)
        memoryCeiling = options.memoryCeiling ?? Self.availableMemory / 10 * 9
        guardian = try GuardianClient(path: try options.paths.guardianSocket())
        stopping = try EventFD()
        var found = KnownGuests()
        arbiter = options.standbyArbiter(activator)
        for guest in try StandbyAdoption(options, guardian, activator, arbiter, log).guests() {
            found[guest.name] = guest
        }
        guests = Mutex(found)
    }

    /// MemAvailable (proc(5), /proc/meminfo), in bytes.
    static var availableMemory: UInt64 {
        let lines = (SmallFile.read("/proc/meminfo") ?? "").split(separator: "\n")
        let line = lines.first { $0.hasPrefix("MemAvailable:") }
        let kib = line?.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }
        return (kib ?? 0) * 1024
    }

    /// The guardian's process number.
    package var guardianPID: Int32 { guardian.pid }

    /// A session began: whether its guest could be started here is looked into at once.
    func lookSoon() { outlook.lookSoon() }

    // MARK: Connections

    /// Accepts primaries until `stop`.
    package func run() {
        do { try outlook.start(activator) { [self] in allGuests } } catch { log.error("\(error)") }
        defer { outlook.stop() }
        startTicking()
        let losses = StandbyLossWatch { [self] in allGuests }
        defer { losses.stop() }
        while true {
            let guardianSocket = guardian.socket
            var entries = [stopping.descriptor, listener, guardianSocket].map { Poll.Entry($0.raw) }
            Poll.wait(&entries, milliseconds: -1)
            if entries[0].isReady { return }
            if entries[2].isReady { guardian.replaceIfGone() }
            do {
                while let socket = try TCP.accept(listener) { accept(socket) }
            } catch {
                // As long as there is no descriptor left, say, at each try.
                refusals.note("\(error)", peer: "unknown")
                usleep(100_000)
            }
        }
    }

    /// Guests whose primary is gone have no connection that would let their time pass.
    private func startTicking() {
        guard arbiter?.activateByItself != nil else { return }
        do {
            let thread = try WorkerThread("alone") { [self] in
                while !Poll.wait(stopping.descriptor.raw, milliseconds: 100) {
                    for guest in allGuests { guest.tickIfAlone() }
                }
            }
            thread.detach()
        } catch {
            log.error("nothing is activated without being told to: \(error)")
        }
    }

    /// Ends `run`. Images stay with the guardian; primaries hold their output and come back.
    package func stop() { stopping.signal() }

    /// Ends the hooks that run; the next daemon goes on with them.
    package func stopHooks() { for guest in allGuests { guest.hooks?.stop() } }

    private func accept(_ socket: Descriptor) {
        let id = nextConnection.add(1, ordering: .relaxed).oldValue
        let address = try? TCP.remoteAddress(of: socket)
        let peer = address?.description ?? "unknown"
        guard door.admit(socket, id: id, from: address?.host ?? "unknown") else {
            return refusals.note("too many unknown connections; one was closed", peer: peer)
        }
        do {
            let thread = try WorkerThread("session-\(id)") { [self] in
                StandbySession.run(socket, peer: peer, id: id, service: self)
                door.left(id)
            }
            thread.detach()
        } catch {
            door.left(id)
            refusals.note("cannot serve a connection: \(error)", peer: peer)
        }
    }

    /// Serves a session of `guest`, unless there are too many.
    func seat(_ guest: String, _ body: () -> Void) throws(GuestError) {
        defer { sessions.subtract(1, ordering: .relaxed) }
        guard sessions.add(1, ordering: .relaxed).newValue <= Self.sessionLimit else {
            throw GuestError(guest: guest, reason: "there are \(Self.sessionLimit) sessions here already")
        }
        body()
    }

    // MARK: Guests

    /// The guest of a hello, known or new, until `leave`. A name belongs to one UUID as long as there is an image or a
    /// running guest.
    func guest(for hello: Hello) throws -> StandbyGuest {
        let name = try GuestName(hello.guest.name)
        while true {
            // A guest is asked, and a record read, without the lock that every other session wants.
            let known = guests.withLock { guests in
                guests[name]?.visits.add(1, ordering: .relaxed)
                return guests[name]
            }
            if let known {
                var isIt = false
                defer { if !isIt { leave(known) } }
                // What is known of an earlier guest of that name says nothing about this one.
                isIt = try known.isTheGuest(hello.guest.uuid)
                if isIt { return known }
            }
            let new = try newGuest(name, hello)
            let isKept = try guests.withLock { guests in
                guard guests[name] === known else { return false }
                guard known != nil || guests.all.count < Self.guestLimit else {
                    let reason = "\(Self.guestLimit) guests are known here already; forget some of them first"
                    throw GuestError(guest: hello.guest.name, reason: reason)
                }
                new.visits.add(1, ordering: .relaxed)
                guests[name] = new
                return true
            }
            if isKept { return new }
        }
    }

    /// A session of `guest` is over. One that left nothing here, such as one that was refused, leaves no guest behind either.
    func leave(_ guest: StandbyGuest) {
        guests.withLock { guests in
            guard guest.visits.subtract(1, ordering: .relaxed).newValue == 0, guests[guest.name] === guest,
                // Whoever has the lock now may be about to change it: it stays.
                guest.state.withLockIfAvailable({ $0.isNothing }) == true
            else { return }
            guests[guest.name] = nil
        }
    }

    private func newGuest(_ name: GuestName, _ hello: Hello) throws -> StandbyGuest {
        let record = try StandbyRecord.load(from: options.paths.standbyRecord(name))
        let facts = record.flatMap { $0.uuid == hello.guest.uuid.description ? StandbyFacts($0) : nil }
        var machine = StandbyMachine(
            facts: facts ?? StandbyFacts(),
            image: nil,
            host: PrimaryIdentity.hostName
        )
        machine.takesUnacknowledged = options.unsafePeers
        return StandbyGuest(
            name: name,
            paths: options.paths,
            guardian: guardian,
            machine: machine,
            image: nil,
            warmer: options.warmStart,
            arbiter: arbiter,
            hooks: options.hooks
        )
    }

    /// The guest called `name`.
    func guest(named name: String) -> StandbyGuest? {
        guests.withLock { guests in guests.all.first { $0.name.text == name } }
    }

    /// All guests, by name.
    var allGuests: [StandbyGuest] { guests.withLock { $0.all } }

    // MARK: Memory

    /// What a reader of a peer's stream may cost.
    var budgets: ReaderBudgets {
        var budgets = ReaderBudgets()
        budgets.bufferedLength = UInt32(ImageLayout.emulatorCapacity)
        return budgets
    }

    /// Bytes that all images really use.
    var usedMemory: UInt64 { usedMemory(besides: nil) }

    private func usedMemory(besides guest: StandbyGuest?) -> UInt64 {
        guests.withLock { guests in
            var sum: UInt64 = 0
            for other in guests.all where other !== guest { sum += other.usedBytes }
            return sum
        }
    }

    /// Whether the guest of `hello` fits, known before its first epoch is accepted.
    func memory(for hello: Hello, _ guest: StandbyGuest) -> MemoryVerdict {
        let others = usedMemory(besides: guest)
        // An older image stays until the new one is whole, if it may still be needed.
        let older = hello.imageStillValid ? guest.usedBytes : 0
        let isWarm = options.warmStart != nil && !Activators.isEmbedded(config: hello.guest.config)
        // A warm guest's memory is its domain's, which is asked of Xen when that begins.
        let pages = isWarm ? 0 : min(hello.populatedPages, UInt64(hello.guest.pageCount))
        return MemoryVerdict(
            ceiling: memoryCeiling,
            used: others + older,
            // A byte a page for its type, and what is small.
            needed: pages * UInt64(guestPageSize) + UInt64(hello.guest.pageCount) + (1 << 20)
        )
    }

    /// Bytes that `guest` alone may use now, all images of others left as they are.
    func memoryLimit(for guest: StandbyGuest) -> UInt64 {
        let others = usedMemory(besides: guest)
        return memoryCeiling > others ? memoryCeiling - others : 0
    }
}

extension StandbyGuest {
    /// Whether this is the guest of that UUID.
    /// - Throws: if it is another one that is in use here.
    func isTheGuest(_ uuid: GuestUUID) throws(GuestError) -> Bool {
        noticeEndOfGuest()
        let (known, inUse) = state.withLock {
            ($0.uuid, $0.image != nil || $0.machine.runsHere || $0.machine.liveConnection != nil)
        }
        guard let known, known != uuid else { return true }
        guard inUse else { return false }
        throw GuestError(
            guest: name.description,
            reason:
                "another guest of this name (UUID \(known)) has an image here; rename one or unprotect the other"
        )
    }
}
