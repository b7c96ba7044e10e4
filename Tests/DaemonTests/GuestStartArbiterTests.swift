import Checkpoint
import SystemSupport
import Testing

@testable import Daemon

/// A guest with an arbiter is started anew by its grant: an image of it may have been granted the same generation.
@Suite struct GuestStartArbiterTests {
    private let here, there, storage: TemporaryDirectory
    private let name: GuestName

    init() throws {
        here = try TemporaryDirectory()
        there = try TemporaryDirectory()
        storage = try TemporaryDirectory()
        name = try GuestName("db")
    }

    /// A host that ran it as generation 3, with the arbiter in `folder`.
    private func start(at host: TemporaryDirectory, _ folder: String) throws -> GuestStart {
        let paths = Paths(runtime: host.path, state: host.path)
        var record = PrimaryRecord(
            guest: "db",
            uuid: GuestUUID(high: 1, low: 2).description,
            generation: 3,
            session: nil,
            peer: nil
        )
        record.arbiter = ArbiterRecord(ArbiterFacts(name: "file:\(folder)"))
        try record.store(at: paths.primaryRecord(name))
        return try #require(try GuestStart(name, paths))
    }

    private func record(at host: TemporaryDirectory) throws -> PrimaryRecord {
        try #require(try PrimaryRecord.load(from: host.file("primary-db.json")))
    }

    @Test func onlyOneHostIsGrantedTheStart() throws {
        _ = try FileMarker.prepare(storage.path)
        try start(at: here, storage.path).record(4, GuestStart.Order())
        #expect(try record(at: here).generation == 4)
        #expect(try record(at: here).arbiter?.generation == 4)
        let error = #expect(throws: GuestStart.NotGranted.self) {
            try start(at: there, storage.path).record(4, GuestStart.Order())
        }
        #expect(error?.isDenied == true)
        #expect(try record(at: there).generation == 3)
    }

    @Test func withoutAnAnswerSomebodyVouches() throws {
        // Never prepared: taken for not mounted.
        var order = GuestStart.Order()
        let error = #expect(throws: GuestStart.NotGranted.self) {
            try start(at: here, storage.path).record(4, order)
        }
        #expect(error?.isDenied == false)
        let kept = try record(at: here)
        #expect(kept.generation == 3 && kept.arbiter?.wish != nil)
        order.confirmFenced = "beta"
        try start(at: here, storage.path).record(4, order)
        #expect(try record(at: here).generation == 4)
    }
}
