import Checkpoint
import SystemSupport
import Testing
import XenStream

@testable import Daemon

@Suite struct GenerationStoreTests {
    private let guest = GuestDescription(
        name: "web1",
        uuid: GuestUUID(high: 1, low: 2),
        kind: .hvm,
        pageCount: 4096,
        address: "",
        config: []
    )

    private func store(_ directory: TemporaryDirectory) throws -> (GenerationStore, Paths, GuestName) {
        let paths = Paths(runtime: directory.path, state: directory.path)
        let name = try GuestName("web1")
        return (
            GenerationStore(paths, name, guest, peer: SocketAddress(host: "127.0.0.1", port: 1)), paths, name
        )
    }

    @Test func risesWithEachProtect() throws {
        let directory = try TemporaryDirectory()
        let (store, _, _) = try store(directory)
        #expect(try store.begin() == 1)
        #expect(try store.begin() == 2)
        try store.store(7)
        #expect(try store.begin() == 8)
    }

    @Test func aGuestThatWasActivatedHereIsProtectedAboveItsActivation() throws {
        let directory = try TemporaryDirectory()
        let (store, paths, name) = try store(directory)
        #expect(try store.begin() == 1)
        try StandbyRecord(guest: "web1", uuid: guest.uuid.description, generation: 5, state: .active)
            .store(at: paths.standbyRecord(name))
        #expect(try store.begin() == 6)
    }

    @Test func anotherGuestOfThatNameCountsAnew() throws {
        let directory = try TemporaryDirectory()
        let (store, paths, name) = try store(directory)
        try StandbyRecord(guest: "web1", uuid: GuestUUID.random().description, generation: 5, state: .active)
            .store(at: paths.standbyRecord(name))
        #expect(try store.begin() == 1)
    }

    @Test func aRecordThatCannotBeReadStopsProtection() throws {
        let directory = try TemporaryDirectory()
        let (store, paths, name) = try store(directory)
        try SmallFile.replace(paths.standbyRecord(name), with: Array("{".utf8))
        #expect(throws: RecordError.self) { try store.begin() }
    }
}
