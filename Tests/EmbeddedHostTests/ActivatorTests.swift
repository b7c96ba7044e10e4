import Checkpoint
import EmbeddedHost
import Glibc
import SystemSupport
import Testing

/// What the activator refuses beforehand, and how it fails when a start goes wrong.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct ActivatorTests {
    private let process: GuestProcess
    private let replica: Replica
    private let activator: EmbeddedActivator
    private let directory: RuntimeDirectory

    init() throws {
        process = try GuestProcess()
        #expect(try Client(process.address).ask("SET", "k", "v") == "+OK")
        replica = try Replica(process.control())
        try replica.start()
        try replica.checkpoint(cut: false)
        directory = try RuntimeDirectory()
        activator = EmbeddedActivator(runtimeDirectory: directory.path, executable: try builtRemusd())
    }

    private func request(_ change: (inout ActivationRequest) -> Void = { _ in }) -> ActivationRequest {
        var request = ActivationRequest(
            description: replica.guest.description,
            memoryDescriptor: replica.file.raw,
            stateRecords: replica.state,
            address: nil,
            writePlainImage: { _, _ in }
        )
        change(&request)
        return request
    }

    @Test func whatIsMissingIsSaidBeforehand() {
        let missing = activator.missingResources(for: request())
        #expect(
            missing.count == 1 && missing[0].contains("listen on"),
            "the primary's guest has the address: \(missing)"
        )
        #expect(activator.missingResources(for: request { $0.address = "127.0.0.1:0" }) == [])
        #expect(
            activator.missingResources(
                for: request {
                    $0.address = "127.0.0.1:0"
                    $0.stateRecords = [1, 2, 3]
                }
            ).count == 1
        )
        #expect(
            activator.missingResources(
                for: request {
                    $0.address = "nowhere"
                    $0.description.pageCount = 8192
                }
            ).count == 3
        )
    }

    @Test func aFailedStartCarriesTheChildsOwnWords() throws {
        do {
            _ = try activator.start(request())
            Issue.record("two listeners on one address")
        } catch {
            #expect(error.reason.contains("listen on") && error.reason.contains("in use"), "\(error)")
        }
        // Nothing was left running, and the image is as it was.
        let started = try activator.start(request { $0.address = "127.0.0.1:0" })
        let pid = try #require((started.guest as? EmbeddedProcess)?.pid)
        defer { kill(pid, SIGKILL) }
        let client = try Client(try #require(SocketAddress(started.address)))
        #expect(try client.ask("GET", "k") == "v")
        let found = activator.runningGuest(named: "g1", uuid: replica.guest.description.uuid, unfinished: nil)
        #expect((found?.guest as? EmbeddedProcess)?.pid == pid && found?.guest.hasEnded == false)
        #expect(throws: GuestError.self) { _ = try activator.start(request { $0.address = "127.0.0.1:0" }) }
    }

    // MARK: A start that is begun before it is permitted

    /// What a guest that is begun, or runs, has left in the runtime directory.
    private var files: [String] { SmallFile.names(in: directory.path).filter { $0.hasPrefix("guest-") } }

    private func begin() throws -> EmbeddedStart {
        try #require(activator.begin(request { $0.address = "127.0.0.1:0" }) as? EmbeddedStart)
    }

    /// Long enough for a process that does not wait to show itself.
    private func waitUntilItCould() { usleep(1_000_000) }

    /// Whether a process is there, be it dead and not yet waited for.
    private func isThere(_ pid: Int32) -> Bool { kill(pid, 0) == 0 }

    @Test func aBegunStartWaitsAndIsGoneOnWith() throws {
        let begun = try begin()
        waitUntilItCould()
        let waiting = try ProcessHandle(pid: begun.pid)
        #expect(!waiting.hasEnded && files == [])
        let maps = try #require(SmallFile.read("/proc/\(begun.pid)/maps"))
        #expect(!maps.contains("memfd:"), "neither the image nor its registers are mapped")
        #expect(!maps.contains("libcurl"), "which takes a third of a process's start, for an etcd alone")
        // The guest's last state is known later than that.
        #expect(try Client(process.address).ask("SET", "k", "w") == "+OK")
        try replica.checkpoint(cut: false)
        let ran = Monitor(false)
        var order = request {
            $0.address = "127.0.0.1:0"
            $0.begun = begun
            $0.willRun = { ran.withLock { $0 = true } }
        }
        order.stateRecords = replica.state
        #expect(!ran.withLock { $0 })
        let started = try activator.start(order)
        let pid = try #require((started.guest as? EmbeddedProcess)?.pid)
        defer { kill(pid, SIGKILL) }
        #expect(pid == begun.pid && ran.withLock { $0 })
        // Whoever began it has no hold on it any more.
        begun.abandon()
        let client = try Client(try #require(SocketAddress(started.address)))
        #expect(try client.ask("GET", "k") == "w" && !started.guest.hasEnded)
    }

    @Test func anAbandonedStartLeavesNothing() throws {
        let begun = try begin()
        begun.abandon()
        begun.abandon()
        #expect(!isThere(begun.pid) && files == [])
        // The image is as it was; a start that goes on with nothing makes a process of its own.
        let started = try activator.start(
            request {
                $0.address = "127.0.0.1:0"
                $0.begun = begun
            }
        )
        let pid = try #require((started.guest as? EmbeddedProcess)?.pid)
        defer { kill(pid, SIGKILL) }
        #expect(pid != begun.pid)
        #expect(try Client(try #require(SocketAddress(started.address))).ask("GET", "k") == "v")
    }

    @Test func aStartThatNobodyHoldsIsAbandoned() throws {
        let pid = try begin().pid
        #expect(!isThere(pid) && files == [])
    }

    @Test func aBegunProcessThatDiesIsReplaced() throws {
        let begun = try begin()
        kill(begun.pid, SIGKILL)
        let order = request {
            $0.address = "127.0.0.1:0"
            $0.begun = begun
        }
        // As after any start that fails, the next attempt stands for itself.
        do {
            _ = try activator.start(order)
            Issue.record("a dead process serves")
        } catch {
            #expect(error.reason.contains("ended before"), "\(error)")
        }
        #expect(!isThere(begun.pid))
        let started = try activator.start(order)
        let pid = try #require((started.guest as? EmbeddedProcess)?.pid)
        defer { kill(pid, SIGKILL) }
        #expect(!started.guest.hasEnded)
    }

    /// Its parent dies, or ends it, before it was let go on.
    @Test(arguments: [false, true])
    func aWaitingProcessEndsWithItsParent(bySignal: Bool) throws {
        let registers = try #require(GuestRegisters.find(inStateRecords: replica.state))
        let block = try Memfd.create(name: "registers", size: GuestRegisters.size)
        let written = try Mapping.shared(block, count: GuestRegisters.size)
        withExtendedLifetime(written) { registers.encode(to: $0.base) }
        let size = replica.guest.description.pageCount * guestPageSize
        let pid: Int32
        let parent: Descriptor
        do {
            let (ours, its) = try UnixSocket.pairOfStreams()
            parent = ours
            pid = try ChildProcess.spawn(
                builtRemusd(),
                [
                    "guest", "run", "g1", "--memory", "\(size)", "--listen", "127.0.0.1:0",
                    "--adopt-memory-fd", "3", "--adopt-registers-fd", "4", "--ready-fd", "5",
                ],
                inherited: [3: try replica.file.duplicate(), 4: block, 5: its],
                environment: ChildProcess.environment.filter { !$0.hasPrefix("REMUSD_RUNTIME_DIR=") }
                    + ["REMUSD_RUNTIME_DIR=\(directory.path)"]
            )
        }
        let handle = try ProcessHandle(pid: pid)
        defer {
            handle.signal(SIGKILL)
            ChildProcess.reap(pid)
        }
        waitUntilItCould()
        #expect(!handle.hasEnded)
        if bySignal { handle.signal(SIGTERM) } else { parent.shutDown() }
        #expect(handle.waitForEnd(milliseconds: 10_000))
        #expect(files == [], "it was never a guest")
    }
}
