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

    /// As a protect with `--to 127.0.0.1:PORT --alone-after SECONDS` has it.
    private func store(
        _ directory: TemporaryDirectory,
        port: UInt16 = 1,
        aloneAfter: UInt64 = 10
    ) throws -> (GenerationStore, Paths, GuestName) {
        let paths = Paths(runtime: directory.path, state: directory.path)
        let name = try GuestName("web1")
        let peer = SocketAddress(host: "127.0.0.1", port: port)
        return (
            GenerationStore(paths, name, guest, peer: peer, aloneAfter: .seconds(aloneAfter)), paths, name
        )
    }

    private func record(_ directory: TemporaryDirectory) throws -> PrimaryRecord {
        let (_, paths, name) = try store(directory)
        return try #require(try PrimaryRecord.load(from: paths.primaryRecord(name)))
    }

    @Test func heldOutputBelongsToTheStandbyOfTheRecord() throws {
        let directory = try TemporaryDirectory()
        #expect(try store(directory, port: 1).0.begin(plugWasClosed: false).otherStandby == nil)
        #expect(try store(directory, port: 1).0.begin(plugWasClosed: true).otherStandby == nil)
        // However often protect is started anew with another one.
        for _ in 0..<2 {
            #expect(try store(directory, port: 2).0.begin(plugWasClosed: true).otherStandby == "127.0.0.1:1")
            #expect(try record(directory).peer == "127.0.0.1:1")
        }
        let (last, _, _) = try store(directory, port: 2)
        let start = try last.begin(plugWasClosed: true)
        try last.store(start.generation + 1)
        #expect(try record(directory).peer == "127.0.0.1:2")
        #expect(try store(directory, port: 2).0.begin(plugWasClosed: true).otherStandby == nil)
        // Nothing is held: whatever image there is, is outdated.
        #expect(try store(directory, port: 3).0.begin(plugWasClosed: false).otherStandby == nil)
        #expect(try record(directory).peer == "127.0.0.1:3")
    }

    @Test func theLongestAloneAfterStaysUntilTheImageIsReplaced() throws {
        let directory = try TemporaryDirectory()
        #expect(
            try store(directory, aloneAfter: 60).0.begin(plugWasClosed: false).recordedAloneAfter == nil
        )
        for _ in 0..<2 {
            let start = try store(directory, aloneAfter: 5).0.begin(plugWasClosed: true)
            #expect(start.recordedAloneAfter == .seconds(60))
            #expect(try record(directory).aloneAfter == .seconds(60))
        }
        let (last, _, _) = try store(directory, aloneAfter: 5)
        let start = try last.begin(plugWasClosed: true)
        // A generation may be stored and the output be held still.
        try last.store(start.generation + 1)
        #expect(try record(directory).aloneAfter == .seconds(60))
        try last.storeAloneAfter()
        #expect(try record(directory).aloneAfter == .seconds(5))
        #expect(try record(directory).generation == start.generation + 1)
        // A longer one counts before an image can trust it.
        #expect(
            try store(directory, aloneAfter: 20).0.begin(plugWasClosed: true).recordedAloneAfter
                == .seconds(20)
        )
        #expect(try record(directory).aloneAfter == .seconds(20))
        _ = try store(directory, aloneAfter: 5).0.begin(plugWasClosed: false)
        #expect(try record(directory).aloneAfter == .seconds(5))
    }

    @Test(arguments: [(UInt64(3), UInt64(10)), (30, 30)])
    func aRecordWithoutAloneAfterCountsAsTheDefault(_ ours: UInt64, _ expected: UInt64) throws {
        let directory = try TemporaryDirectory()
        let (store, paths, name) = try store(directory, aloneAfter: ours)
        try directory.write(
            """
            {"schema":"remusd.primary-record/1","guest":"web1","uuid":"\(guest.uuid)","generation":4,\
            "peer":"127.0.0.1:1","updated_at":"2026-11-23T09:04:00Z"}
            """,
            to: "primary-web1.json"
        )
        #expect(paths.primaryRecord(name).hasSuffix("/primary-web1.json"))
        let start = try store.begin(plugWasClosed: true)
        #expect(start == PrimaryStart(generation: 5, recordedAloneAfter: .seconds(expected)))
    }

    @Test func theStandbysHostGoesWithItsAddress() throws {
        let directory = try TemporaryDirectory()
        let (first, _, _) = try store(directory, port: 1)
        _ = try first.begin(plugWasClosed: false)
        #expect(try record(directory).standbyHost == nil)
        try first.note(standbyHost: "beta")
        #expect(try record(directory).standbyHost == "beta")
        // A later protect with the same standby knows it before the first welcome.
        let (again, _, _) = try store(directory, port: 1)
        let start = try again.begin(plugWasClosed: true)
        #expect(try record(directory).standbyHost == "beta")
        try again.store(start.generation + 1)
        #expect(try record(directory).standbyHost == "beta")
        // With another one, it is that one's once the record is.
        let (other, _, _) = try store(directory, port: 2)
        let held = try other.begin(plugWasClosed: true)
        try other.note(standbyHost: "gamma")
        #expect(try record(directory).standbyHost == "beta")
        try other.store(held.generation + 1)
        #expect(try record(directory).standbyHost == "gamma")
        _ = try store(directory, port: 3).0.begin(plugWasClosed: false)
        #expect(try record(directory).standbyHost == nil)
    }

    /// Somebody who vouches for the standby's host names it by any of them, before it has answered too.
    @Test func theStandbyOfHeldOutputIsKnownByItsNameFromTheStart() throws {
        let directory = try TemporaryDirectory()
        let (first, _, _) = try store(directory, port: 1)
        _ = try first.begin(plugWasClosed: false)
        #expect(first.standbyNames == ["127.0.0.1", "127.0.0.1:1"])
        try first.note(standbyHost: "beta")
        let names = ["beta", "127.0.0.1", "127.0.0.1:1"]
        #expect(first.standbyNames == names)
        let (again, _, _) = try store(directory, port: 1)
        _ = try again.begin(plugWasClosed: true)
        #expect(again.standbyNames == names)
        // Protected to another one, output is held for the first until it may be let go.
        let (other, _, _) = try store(directory, port: 2)
        let held = try other.begin(plugWasClosed: true)
        #expect(other.standbyNames == names)
        try other.store(held.generation + 1)
        #expect(other.standbyNames == ["127.0.0.1", "127.0.0.1:2"])
        let fresh = try TemporaryDirectory()
        let (unknown, _, _) = try store(fresh)
        _ = try unknown.begin(plugWasClosed: true)
        #expect(unknown.standbyNames == [])
    }

    @Test func heldOutputWithoutARecordIsHeldForAStandbyThatNobodyKnows() throws {
        let directory = try TemporaryDirectory()
        // However often protect is started anew.
        for _ in 0..<2 {
            let start = try store(directory, aloneAfter: 3).0.begin(plugWasClosed: true)
            #expect(start.imageElsewhere && start.otherStandby == nil)
            #expect(start.recordedAloneAfter == .seconds(10))
            #expect(try record(directory).peer == nil)
        }
        let (last, _, _) = try store(directory, aloneAfter: 3)
        let start = try last.begin(plugWasClosed: true)
        try last.store(start.generation + 1)
        #expect(try record(directory).peer == "127.0.0.1:1")
        #expect(try !store(directory).0.begin(plugWasClosed: true).imageElsewhere)
        // Nothing is held.
        let fresh = try TemporaryDirectory()
        #expect(try store(fresh).0.begin(plugWasClosed: false) == PrimaryStart(generation: 1))
    }

    @Test func anOutdatedCopyStaysOutdatedWhileItsOutputIsNotFree() throws {
        let directory = try TemporaryDirectory()
        let (first, _, _) = try store(directory)
        #expect(try first.begin(plugWasClosed: false).outdatedBy == nil)
        try first.storeOutdated(by: 6)
        try first.storeAloneAfter()
        for port in [UInt16(1), 2] {
            let start = try store(directory, port: port).0.begin(plugWasClosed: true)
            #expect(start.outdatedBy == 6 && start.imageElsewhere == (port == 2))
            #expect(try record(directory).outdatedBy == 6)
        }
        // The outdated copy is gone: this guest is another one.
        #expect(try store(directory).0.begin(plugWasClosed: false).outdatedBy == nil)
        #expect(try record(directory).outdatedBy == nil)
    }

    @Test func anotherGuestsRecordSaysNothingOfThisOne() throws {
        let directory = try TemporaryDirectory()
        let (store, paths, name) = try store(directory, port: 2, aloneAfter: 3)
        let other = GuestUUID.random().description
        try PrimaryRecord(
            guest: "web1",
            uuid: other,
            generation: 9,
            session: nil,
            peer: "127.0.0.1:1",
            aloneAfterMs: 90_000
        ).store(at: paths.primaryRecord(name))
        let start = try store.begin(plugWasClosed: true)
        #expect(
            start
                == PrimaryStart(
                    generation: 1,
                    imageElsewhere: true,
                    recordedAloneAfter: .seconds(10),
                    isUnknown: true
                )
        )
    }

    @Test func risesWithEachProtect() throws {
        let directory = try TemporaryDirectory()
        let (store, _, _) = try store(directory)
        #expect(try store.begin(plugWasClosed: false).generation == 1)
        #expect(try store.begin(plugWasClosed: false).generation == 2)
        try store.store(7)
        #expect(try store.begin(plugWasClosed: false).generation == 8)
    }

    @Test func aGuestThatWasActivatedHereIsProtectedAboveItsActivation() throws {
        let directory = try TemporaryDirectory()
        let (store, paths, name) = try store(directory)
        #expect(try store.begin(plugWasClosed: false).generation == 1)
        try StandbyRecord(guest: "web1", uuid: guest.uuid.description, generation: 5, state: .active)
            .store(at: paths.standbyRecord(name))
        #expect(try store.begin(plugWasClosed: false).generation == 6)
    }

    @Test func anotherGuestOfThatNameCountsAnew() throws {
        let directory = try TemporaryDirectory()
        let (store, paths, name) = try store(directory)
        try StandbyRecord(guest: "web1", uuid: GuestUUID.random().description, generation: 5, state: .active)
            .store(at: paths.standbyRecord(name))
        #expect(try store.begin(plugWasClosed: false).generation == 1)
    }

    @Test func aRecordThatCannotBeReadStopsProtection() throws {
        let directory = try TemporaryDirectory()
        let (store, paths, name) = try store(directory)
        try SmallFile.replace(paths.standbyRecord(name), with: Array("{".utf8))
        #expect(throws: RecordError.self) { try store.begin(plugWasClosed: false).generation }
    }
}
