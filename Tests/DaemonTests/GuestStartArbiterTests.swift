import Checkpoint
import Glibc
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
            peer: "127.0.0.1:9"
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

    /// The other host is off: its record at the arbiter is all there is to ask, and the other one is refused afterwards.
    @Test func theArbiterSpeaksForASilentHost() throws {
        func guarded(_ host: TemporaryDirectory) throws -> BootGuard.Entry? {
            try SmallFile.makeDirectories(host.file("auto.xen"))
            try host.write("", to: "auto.xen/db.cfg")
            let paths = Paths(runtime: host.path, state: host.path)
            let auto = host.file("auto.xen")
            let saved = host.file("save")
            return try BootGuard(paths, from: auto, to: host.file("auto"), saved: saved) { _ in "db" }
                .run(patience: .milliseconds(0)).first
        }
        _ = try start(at: here, storage.path)
        _ = try start(at: there, storage.path)
        // Never prepared: taken for not mounted.
        #expect(try guarded(here)?.starts == false)
        #expect(try record(at: here).generation == 3)
        _ = try FileMarker.prepare(storage.path)
        #expect(try guarded(here)?.starts == true)
        #expect(try record(at: here).generation == 4 && record(at: here).arbiter?.generation == 4)
        let other = try guarded(there)
        #expect(other?.starts == false && other?.reason.contains("the arbiter granted generation 4") == true)
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
        // The word is written down first.
        try SmallFile.makeDirectories(here.file("audit.jsonl"))
        #expect(throws: Audit.NotWritten.self) { try start(at: here, storage.path).record(4, order) }
        #expect(try record(at: here).generation == 3)
        #expect(rmdir(here.file("audit.jsonl")) == 0)
        try start(at: here, storage.path).record(4, order)
        #expect(try record(at: here).generation == 4)
        let last = Audit(Paths(runtime: here.path, state: here.path)).last(of: name)
        #expect(last?.act == .start && last?.outcome == "may_start" && last?.said.confirmFenced == "beta")
    }
}
