import CXen
import Checkpoint
import Glibc
import SystemSupport

/// Suspends a domain and lets it go on: by its suspend event channel where it offers one, else through xenstore
/// (xen-operations.md, sections 3 and 5). Never waits for the guest.
///
/// Readiness: a watch in xenstore, the event channel and, since a suspend that Xen signals elsewhere is not seen there, a
/// timer while a request is on its way.
final class GuestSuspension: DomainSuspension {
    /// Tokens of the watches.
    private enum Token {
        static let shutdown: UInt8 = 0x73, release: UInt8 = 0x72, target: UInt8 = 0x74
    }

    /// How soon the domain is looked at again when a suspend is expected, in nanoseconds: at first, and at most. In between, after as
    /// long as it has been expected: xenstored tells when it has suspended, and where a look takes a millisecond, one each millisecond
    /// keeps a guest on the same processor from suspending (measured in emulated hosts: 122 ms instead of 60).
    private static let firstLook: UInt64 = 1_000_000, longestLook: UInt64 = 16_000_000
    /// How often otherwise.
    private static let idleInterval: UInt64 = 50_000_000
    /// How long a dead predecessor's request may still have an effect.
    private static let predecessorTime: UInt64 = 20_000_000_000

    private(set) var machine = SuspendMachine()
    /// `memory/target` was written since `takeTargetChange`.
    private var targetChanged = false
    private let hypervisor: Hypervisor
    private let store: Xenstore
    private let domain: UInt32
    private let shutdownPath: String
    /// It has a device model: a guest without drivers for Xen is suspended by Xen itself.
    private let isEmulated: Bool
    private let channel: OpaquePointer?
    private let channelDescriptor: Descriptor?
    private let storeDescriptor: Descriptor
    private let timer: TimerFD
    private let events: Epoll
    /// The answer to a request that was not made.
    private var immediate: SuspendOutcome?
    /// How often `control/shutdown` was written since the request, by us and by the guest.
    private var writes = 0
    /// How often it is when nobody else writes, as the first checkpoint showed: once by us, once by a Linux.
    private var usualWrites: Int?
    /// xenstored has not been told yet that the guest runs again.
    private var owesStore = false
    private var lastLook: UInt64 = 0
    /// Since when a suspend is expected.
    private var expectedSince: UInt64 = 0
    private(set) var end: GuestEnd?

    init(
        _ hypervisor: Hypervisor,
        _ store: Xenstore,
        domain: UInt32,
        isEmulated: Bool = false
    ) throws(GuestError) {
        self.hypervisor = hypervisor
        self.store = store
        self.domain = domain
        self.isEmulated = isEmulated
        shutdownPath = "/local/domain/\(domain)/control/shutdown"
        let guest = hypervisor.guest
        channel = try Self.openChannel(hypervisor, store, domain)
        do {
            timer = try TimerFD()
            events = try Epoll()
            try events.add(timer.descriptor, .readable, token: 0)
            // Copies, so that each has one owner: the libraries close their own.
            let watches = fcntl(store.descriptor, F_DUPFD_CLOEXEC, 3)
            guard watches >= 0 else { throw SystemError("duplicate a descriptor") }
            storeDescriptor = Descriptor(owning: watches)
            try events.add(storeDescriptor, .readable, token: 1)
            if let channel {
                let copy = fcntl(CXen_channel_descriptor(channel), F_DUPFD_CLOEXEC, 3)
                guard copy >= 0 else { throw SystemError("duplicate a descriptor") }
                let descriptor = Descriptor(owning: copy)
                channelDescriptor = descriptor
                try events.add(descriptor, .readable, token: 2)
            } else {
                channelDescriptor = nil
            }
        } catch {
            if let channel { CXen_channel_close(hypervisor.raw, channel) }
            throw GuestError(guest: guest, reason: "\(error)")
        }
        try store.watch(shutdownPath, token: "s")
        try store.watch("@releaseDomain", token: "r")
        try store.watch("/local/domain/\(domain)/memory/target", token: "t")
        expectPredecessor()
        // A watch fires once when it is set: what waits now is that, and is older than the answer to this.
        _ = store.read(shutdownPath)
        drain(ignoringShutdown: true)
        targetChanged = false
    }

    deinit { if let channel { CXen_channel_close(hypervisor.raw, channel) } }

    private static func openChannel(
        _ hypervisor: Hypervisor,
        _ store: Xenstore,
        _ domain: UInt32
    ) throws(GuestError) -> OpaquePointer? {
        let offered = store.read("/local/domain/\(domain)/device/suspend/event-channel")
        guard let port = offered.flatMap({ Int32($0) }), port > 0 else { return nil }
        var code: Int32 = 0
        guard let channel = CXen_channel_open(hypervisor.raw, domain, port, &code) else {
            throw XenFailure.error(hypervisor.guest, "bind its suspend event channel", code)
        }
        return channel
    }

    /// Readable when something may have happened.
    var eventDescriptor: Int32 { events.descriptor.raw }
    var isSuspended: Bool { machine.phase == .suspended }
    var isVoid: Bool { machine.isVoid }
    /// A suspend that nobody asked for may be a dead predecessor's, for a while from now.
    private func expectPredecessor() { machine.predecessorUntil = Clock.monotonic + Self.predecessorTime }
    /// The same, unless another tool has asked it to suspend meanwhile.
    func expectPredecessorStill() {
        drain()
        if machine.predecessorUntil > 0 { expectPredecessor() }
    }
    func trackingRestarted() { machine.trackingRestarted() }

    /// Whether its memory target was changed since the last call.
    func takeTargetChange() -> Bool {
        drain()
        defer { targetChanged = false }
        return targetChanged
    }

    // MARK: Looking

    private func state() throws(GuestError) -> LifeState {
        lastLook = Clock.monotonic
        return try hypervisor.domain(domain)?.state ?? .gone
    }

    /// Takes what waits in the watches, and sees to it.
    private func drain(ignoringShutdown: Bool = false) {
        while let token = store.nextEvent() {
            if token == Token.shutdown { writes += 1 }
            switch token {
            case Token.shutdown where !ignoringShutdown && machine.phase == .running: judgeRequest()
            case Token.target: targetChanged = true
            case Token.release: lastLook = 0
            default: break
            }
        }
    }

    /// Somebody wrote to `control/shutdown` while nothing of ours was on its way.
    private func judgeRequest() {
        switch store.read(shutdownPath) {
        case "poweroff", "reboot", "halt", "crash": break
        default: machine.foreignRequest()
        }
    }

    /// Whether the guest has ended; cheap, and called often.
    func checkEnd() -> GuestEnd? {
        // While a suspend is on its way, what is taken here would not be seen by `outcome`, which sees an end too.
        if end != nil || machine.phase == .asked { return end }
        drain()
        timer.drain()
        guard machine.phase == .overdue || Clock.monotonic - lastLook >= Self.idleInterval else { return nil }
        // A look that fails says nothing; the next one may.
        if let state = try? state() { _ = act(on: state) }
        return end
    }

    /// Judges a look, and does what it asks for.
    private func act(on state: LifeState) -> SuspendMachine.Verdict {
        let verdict = machine.observe(state, at: Clock.monotonic)
        switch verdict {
        case .ended(let reason): end = reason
        case .resume: try? letRun()
        case .nothing, .suspended, .paused: break
        }
        setTimer()
        return verdict
    }

    // MARK: Suspending

    func request() throws(GuestError) {
        drain()
        if owesStore { try tellStore() }
        immediate = nil
        var answer = machine.request(try state(), at: Clock.monotonic)
        if answer == .resumeFirst {
            try letRun()
            answer = machine.request(try state(), at: Clock.monotonic)
        }
        switch answer {
        case .ask: try ask()
        case .wait: break
        case .resumeFirst: immediate = .paused
        case .impossible(let outcome):
            immediate = outcome
            if case .ended(let reason) = outcome { end = reason }
            // The answer is there already.
            timer.repeats(every: Self.firstLook)
            return
        }
        expectedSince = Clock.monotonic
        setTimer()
    }

    /// A domain that is about to suspend is looked at again.
    private func setTimer() {
        guard machine.phase == .asked || machine.phase == .overdue else { return timer.stop() }
        timer.repeats(every: min(max(Self.firstLook, Clock.monotonic - expectedSince), Self.longestLook))
    }

    private func ask() throws(GuestError) {
        writes = 0
        if try !answersRequests() {
            try hypervisor.check("suspend it", CXen_domain_suspend(hypervisor.raw, domain))
        } else if let channel {
            CXen_channel_drain(channel)
            try hypervisor.check("signal its suspend event channel", CXen_channel_notify(channel))
        } else if try !store.exchange(shutdownPath, from: "", to: "suspend") {
            switch store.read(shutdownPath) {
            // A predecessor's request that the guest has not read yet: it will do.
            case "suspend": break
            case nil: try store.write(shutdownPath, "suspend")
            case let other?:
                throw GuestError(
                    guest: hypervisor.guest,
                    reason: "it has not read the request to \(other) yet, which somebody made before"
                )
            }
        }
        machine.asked()
    }

    /// Whether the guest itself suspends when it is asked to: not without drivers for Xen (no callback interrupt), nor asleep
    /// (xen-operations.md, section 3).
    private func answersRequests() throws(GuestError) -> Bool {
        guard isEmulated else { return true }
        func parameter(_ index: UInt32) throws(GuestError) -> UInt64 {
            var value: UInt64 = 0
            try hypervisor.check(
                "read its HVM parameter \(index)",
                CXen_hvm_param(hypervisor.raw, domain, index, &value)
            )
            return value
        }
        guard try parameter(UInt32(CXen_CALLBACK_IRQ)) != 0 else { return false }
        return try parameter(UInt32(CXen_ACPI_S_STATE)) == 0
    }

    func outcome() throws(GuestError) -> SuspendOutcome? {
        timer.drain()
        if let channel { CXen_channel_drain(channel) }
        drain()
        if let immediate {
            self.immediate = nil
            setTimer()
            return immediate
        }
        guard machine.phase == .asked || machine.phase == .suspended else { return nil }
        let wasAsked = machine.phase == .asked
        switch act(on: try state()) {
        case .suspended:
            if wasAsked, channel == nil, isAskedByOthers() {
                machine.handOver()
                return .paused
            }
            return .suspended
        case .ended(let end): return .ended(end)
        case .paused:
            cancel()
            return .paused
        case .nothing, .resume: return nil
        }
    }

    /// Whether another tool asked the guest to suspend too, and so takes this suspend for its own. Not if the guest has not
    /// read that request yet: it suspends for it once more.
    private func isAskedByOthers() -> Bool {
        // The answer is younger than all that the guest wrote before it suspended.
        let value = store.read(shutdownPath)
        drain()
        let usual = usualWrites ?? max(2, writes)
        usualWrites = usual
        return writes > usual && value != "suspend"
    }

    /// Withdraws the request; a guest that has suspended runs on.
    func cancel() {
        immediate = nil
        switch machine.phase {
        case .asked:
            // What cannot be withdrawn for any reason counts as taken: then the guest is watched, and resumed.
            let withdrawn =
                channel == nil && (try? store.exchange(shutdownPath, from: "suspend", to: "")) == true
            machine.withdrawn(taken: !withdrawn)
            expectedSince = Clock.monotonic
            setTimer()
            if withdrawn {
                // The answer to this is younger than what our own writing made fire.
                _ = store.read(shutdownPath)
                drain(ignoringShutdown: true)
            } else {
                if let state = try? state() { _ = act(on: state) }
            }
        case .suspended: try? resume()
        case .running, .overdue, .foreign: break
        }
    }

    /// Lets a guest that is suspended for us run on.
    func resume() throws(GuestError) {
        guard machine.phase == .suspended else { return }
        try letRun()
    }

    private func letRun() throws(GuestError) {
        let code = CXen_domain_resume(hypervisor.raw, domain)
        if code != 0 {
            // It may run already, by somebody else's doing.
            guard try state() != .suspended else {
                throw XenFailure.error(hypervisor.guest, "resume it", code)
            }
        }
        machine.resumed()
        setTimer()
        owesStore = true
        // The guest runs; xenstored's ignorance is made good before the next suspend.
        try? tellStore()
    }

    /// Without this xenstored is silent about the next suspend (xen-operations.md, section 3.2).
    private func tellStore() throws(GuestError) {
        try store.resume(domain)
        owesStore = false
        // What the guest wrote before it suspended is older than that answer, and ours.
        drain(ignoringShutdown: true)
    }

    /// The guest runs, and nothing of ours is on its way to it, at the latest when `limit` nanoseconds have passed.
    func settle(within limit: UInt64) {
        cancel()
        let deadline = Clock.monotonic + limit
        while machine.phase == .overdue, Clock.monotonic < deadline {
            usleep(1000)
            if let state = try? state() { _ = act(on: state) }
            if end != nil { return }
        }
    }
}
