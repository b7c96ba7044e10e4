import Checkpoint
import SystemSupport
import Testing

@testable import Daemon

@Suite struct GenerationStoreTests {
    private let uuid = GuestUUID.random()

    private func store(_ directory: TemporaryDirectory) throws -> (
        GenerationStore, Paths, GuestName
    ) {
        let paths = Paths(runtime: directory.path, state: directory.path)
        let name = try GuestName("web1")
        let peer = SocketAddress(host: "127.0.0.1", port: 7070)
        return (GenerationStore(name, uuid: uuid, peer: peer, paths: paths), paths, name)
    }

    @Test func itRisesWithEachProtect() throws {
        let directory = try TemporaryDirectory()
        let (store, _, _) = try store(directory)
        #expect(try store.begin() == 1)
        #expect(try store.begin() == 2)
        try store.store(7)
        #expect(try store.begin() == 8)
    }

    /// Failback: the guest runs here because this host activated it, and is protected from here for the first time.
    @Test func aGuestThatWasActivatedHereGoesOnFromThere() throws {
        let directory = try TemporaryDirectory()
        let (store, paths, name) = try store(directory)
        try StandbyRecord(guest: "web1", uuid: uuid.description, generation: 5, state: .active)
            .store(at: paths.standbyRecord(name))
        #expect(try store.begin() == 6)
        #expect(try store.begin() == 7)
    }

    @Test func anotherGuestOfThatNameSaysNothing() throws {
        let directory = try TemporaryDirectory()
        let (store, paths, name) = try store(directory)
        try StandbyRecord(guest: "web1", uuid: GuestUUID.random().description, generation: 5, state: .dropped)
            .store(at: paths.standbyRecord(name))
        #expect(try store.begin() == 1)
    }
}
