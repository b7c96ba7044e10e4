import Checkpoint
import Synchronization
import SystemSupport
import Testing
import XenStream

@testable import Daemon

/// Which host a guest is started on, and what a standby says of one that could not be started.
@Suite struct ActivatorsTests {
    /// Remembers what it was asked for.
    private final class Witness: GuestActivator {
        let starts = Mutex<[String]>([])
        let begins = Mutex<[String]>([])
        let obstacles: [String]

        init(obstacles: [String] = []) { self.obstacles = obstacles }

        func runningGuest(named name: String, uuid: GuestUUID, unfinished: UnfinishedStart?)
            -> ActivatedGuest?
        {
            nil
        }
        func outlook(for description: GuestDescription) -> ActivationOutlook {
            ActivationOutlook(obstacles: obstacles, neededBytes: 2, freeBytes: 1)
        }
        func missingResources(for request: ActivationRequest) -> [String] { obstacles }
        func begin(_ request: ActivationRequest) -> (any BegunStart)? {
            begins.withLock { $0.append(request.description.name) }
            return nil
        }
        func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest {
            starts.withLock { $0.append(request.description.name) }
            throw GuestError(guest: request.description.name, reason: "a witness starts nothing")
        }
    }

    private func request(_ name: String, config: String) -> ActivationRequest {
        ActivationRequest(
            description: description(name, config: config),
            memoryDescriptor: -1,
            stateRecords: [],
            address: nil,
            writePlainImage: { _, _ in }
        )
    }

    private func description(_ name: String, config: String) -> GuestDescription {
        GuestDescription(
            name: name,
            uuid: GuestUUID(high: 1, low: 2),
            kind: .hvm,
            pageCount: 16,
            address: "",
            config: Array(config.utf8)
        )
    }

    @Test func eachGuestGoesToItsOwnHost() {
        let embedded = Witness()
        let xen = Witness()
        let all = Activators(embedded: embedded, xen: xen)
        let configs = [
            "a": #"{"c_info":{"type":"pvh"},"remusd":{"host":"embedded"}}"# + "\0",
            "b": #"{"c_info":{"type":"pvh"}}"#,
            "c": #"{"remusd":{"host":"another"}}"#,
            "d": "",
        ]
        for (name, config) in configs.sorted(by: { $0.key < $1.key }) {
            _ = all.begin(request(name, config: config))
            _ = try? all.start(request(name, config: config))
        }
        #expect(embedded.begins.withLock { $0 } == ["a"])
        #expect(xen.begins.withLock { $0 } == ["b", "c", "d"])
        #expect(embedded.starts.withLock { $0 } == ["a"])
        #expect(xen.starts.withLock { $0 } == ["b", "c", "d"])
    }

    @Test func whatIsInTheWayShowsBeforeItIsNeeded() throws {
        let directory = try TemporaryDirectory()
        let paths = Paths(runtime: directory.path, state: directory.path)
        let guest = StandbyGuest(
            name: try GuestName("db"),
            paths: paths,
            guardian: try .served(at: paths.guardianSocket()),
            machine: StandbyMachine(facts: StandbyFacts(), image: nil, host: "beta"),
            image: nil
        )
        guest.look(with: Witness(obstacles: ["no template"]))
        #expect(guest.status(ceiling: 1, used: 0).startNeedsBytes == nil, "nothing is known of the guest yet")
        guest.state.withLock { $0.description = description("db", config: "") }
        guest.look(with: Witness(obstacles: ["no template"]))
        var status = guest.status(ceiling: 1, used: 0)
        #expect(status.reasons.contains("it could not be started here: no template"))
        #expect(status.startNeedsBytes == 2 && status.startFreeBytes == 1 && !status.mayActivate)
        guest.look(with: Witness())
        status = guest.status(ceiling: 1, used: 0)
        #expect(!status.reasons.contains { $0.contains("started here") })
    }
}
