import Checkpoint
import Glibc
import Synchronization
import SystemSupport
import Testing
import XenStream

@testable import Daemon

/// What a guest's standby tells its hooks, and what they may forbid.
@Suite(.timeLimit(.minutes(2))) struct StandbyHookTests {
    private let folder: HookFolder
    private let name: GuestName

    init() throws {
        folder = try HookFolder()
        name = try GuestName("db")
    }

    /// Starts a guest that is not there.
    private struct Starter: GuestActivator {
        struct Running: RunningGuest { let hasEnded = false }

        func runningGuest(named name: String, uuid: GuestUUID, unfinished: UnfinishedStart?)
            -> ActivatedGuest?
        {
            nil
        }
        func outlook(for description: GuestDescription) -> ActivationOutlook { ActivationOutlook() }
        func missingResources(for request: ActivationRequest) -> [String] { [] }
        func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest {
            ActivatedGuest(address: "127.0.0.1:6400", guest: Running())
        }
    }

    private var hello: Hello {
        .sample(
            address: "127.0.0.1:6400",
            generation: 5,
            session: 9,
            populatedPages: 1,
            epochCapacity: 1 << 16,
            aloneAfter: .seconds(600),
            bootID: "b00t",
            protectProcess: ProcessIdentity(pid: 10, startTime: 100),
            guestProcess: ProcessIdentity(pid: 11, startTime: 101)
        )
    }

    private func guest(timeout: TimeSpan = .seconds(30)) throws -> StandbyGuest {
        return StandbyGuest(
            name: name,
            paths: folder.paths,
            guardian: try .served(at: folder.paths.guardianSocket()),
            machine: StandbyMachine(facts: StandbyFacts(), image: nil, host: "beta"),
            image: nil,
            hooks: HookOptions(directory: folder.path, timeout: timeout)
        )
    }

    private let room = MemoryVerdict(ceiling: 1 << 30, used: 0, needed: 1)

    private func commit(_ guest: StandbyGuest) throws {
        _ = try guest.handle(.hello(hello, room, on: 1))
        _ = try guest.handle(.epochWhole(0, on: 1))
    }

    private func lose(_ guest: StandbyGuest) throws { _ = try guest.handle(.connectionLost(1)) }

    private let fenced = ActivateRequest(confirmFenced: "alpha")

    @Test func eachTransitionIsToldOnce() throws {
        try folder.add(
            "10",
            #"echo "$REMUS_EVENT $REMUS_ROLE_OLD $REMUS_ROLE_NEW $REMUS_PEER $REMUS_GENERATION" >> "$T/told""#
        )
        let guest = try guest()
        try commit(guest)
        _ = try guest.handle(.tick)
        guest.hooks?.drain()
        try lose(guest)
        #expect(guest.activate(fenced, with: Starter()).outcome == .active)
        #expect(guest.activate(fenced, with: Starter()).outcome == .active)
        guest.hooks?.drain()
        #expect(
            folder.lines("told") == [
                "post-protected standby standby alpha 5", "pre-activate standby primary alpha 6",
                "post-activate standby primary alpha 6",
            ]
        )
    }

    @Test func aPlannedEndIsToldWithItsReason() throws {
        try folder.add(
            "10",
            #"echo "$REMUS_EVENT $REMUS_REASON $REMUS_STATE $REMUS_MAY_ACTIVATE" >> "$T/told""#
        )
        let guest = try guest()
        try commit(guest)
        let crash = PlannedEnd(reason: .crashed, generation: 6)
        _ = try guest.handle(.received(.plannedEnd(crash), on: 1))
        try lose(guest)
        guest.hooks?.drain()
        #expect(folder.lines("told").last?.hasPrefix("post-ended crashed") == true)
        #expect(folder.lines("told").count == 2)
    }

    /// Refused before the grant, and before anything is written down.
    @Test func aVetoLeavesEverythingAsItWas() throws {
        try folder.add("10", #"[ "$REMUS_EVENT" != pre-activate ] || { echo maintenance; exit 1; }"#)
        let guest = try guest()
        try commit(guest)
        try lose(guest)
        let before = guest.state.withLock { $0.machine.facts }
        let reply = guest.activate(fenced, with: Starter())
        #expect(reply.outcome == .vetoed && reply.exitCode == 17)
        #expect(reply.message.contains("exit code 1: maintenance"))
        #expect(guest.state.withLock { $0.machine.facts } == before)
        #expect(try StandbyRecord.load(from: folder.paths.standbyRecord(name))?.state == .image)
        // Whoever may not be activated anyway is not asked about, nor is a dry run.
        #expect(guest.activate(ActivateRequest(), with: Starter()).outcome == .fencingUnconfirmed)
        var dry = fenced
        dry.dryRun = true
        #expect(guest.activate(dry, with: Starter()).outcome == .wouldActivate)
    }

    /// An activation of a lost guest, in the middle of a hook that ends when a file `go` is there.
    private func activationThatAsks() throws -> (StandbyGuest, Background<ActivateOutcome>) {
        try folder.add(
            "10",
            #"[ "$REMUS_EVENT" != pre-activate ] || { : > "$T/asked"; while [ ! -e "$T/go" ]; do sleep 0.05; done; }"#
        )
        let guest = try guest()
        try commit(guest)
        try lose(guest)
        let activation = Background { [fenced] in guest.activate(fenced, with: Starter()).outcome }
        for _ in 0..<3000 where SmallFile.read(folder.directory.file("asked")) == nil { usleep(10_000) }
        return (guest, activation)
    }

    @Test func theGuestCanBeAskedForWhileAHookIs() throws {
        let (guest, activation) = try activationThatAsks()
        #expect(guest.status(ceiling: 1 << 30, used: 0).state == .peerLost)
        // A second activation does not ask again.
        #expect(guest.activate(fenced, with: Starter()).outcome == .tryAgain)
        try folder.directory.write("", to: "go")
        #expect(try activation.value() == .active)
    }

    /// The primary is heard of again while the hooks are asked: that counts.
    @Test func theDecisionIsMadeAnewAfterTheHooks() throws {
        let (guest, activation) = try activationThatAsks()
        _ = try guest.handle(.hello(hello, room, on: 2))
        try folder.directory.write("", to: "go")
        #expect(try activation.value() == .primaryAlive)
    }

    @Test func aLossIsToldOnceItIsOne() throws {
        try folder.add("10", #"echo "$REMUS_EVENT $REMUS_LINK_FAILURE" >> "$T/told""#)
        let guest = try guest()
        try commit(guest)
        try lose(guest)
        // Not yet: with its alone-after a loss takes a minute.
        guest.state.withLock { guest.tellHooks(&$0) }
        _ = try guest.handle(.hello(hello, room, on: 2))
        guest.hooks?.drain()
        #expect(folder.lines("told") == ["post-protected "])
        #expect(guest.status(ceiling: 1 << 30, used: 0).linkFailure == nil)
    }
}
