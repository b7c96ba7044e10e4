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
}
