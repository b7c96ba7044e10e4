import Checkpoint
import Glibc
import Synchronization
import SystemSupport
import Testing
import XenStream

@testable import Daemon

/// A guest's standby whose record, or guardian, fails it: nothing is promised that did not come about.
@Suite struct StandbyGuestTests {
    private let directory: TemporaryDirectory
    private let name: GuestName
    private let paths: Paths

    init() throws {
        directory = try TemporaryDirectory()
        name = try GuestName("db")
        paths = Paths(runtime: directory.path, state: directory.path)
    }

    private func hello(
        session: UInt64 = 9,
        generation: UInt64 = 5,
        stillValid: Bool = false
    ) -> Hello {
        .sample(
            address: "127.0.0.1:6400",
            generation: generation,
            session: session,
            imageStillValid: stillValid,
            populatedPages: 1,
            epochCapacity: 1 << 16,
            bootID: "b00t",
            protectProcess: ProcessIdentity(pid: 10, startTime: 100),
            guestProcess: ProcessIdentity(pid: 11, startTime: 101)
        )
    }

    private let room = MemoryVerdict(ceiling: 1 << 30, used: 0, needed: 1)

    private func guest() throws -> StandbyGuest {
        return StandbyGuest(
            name: name,
            paths: paths,
            guardian: try .served(at: paths.guardianSocket()),
            machine: StandbyMachine(facts: StandbyFacts(), image: nil, host: "beta"),
            image: nil
        )
    }

    /// In the record's way: a directory cannot be replaced by a file.
    private func failRecords(_ fail: Bool) throws {
        let path = paths.standbyRecord(name)
        if fail {
            unlink(path)
            try #require(mkdir(path, 0o700) == 0)
        } else {
            try #require(rmdir(path) == 0)
        }
    }

    private func committed(_ guest: StandbyGuest) throws {
        _ = try guest.handle(.hello(hello(), room, on: 1))
        _ = try guest.handle(.epochWhole(0, on: 1))
        _ = try guest.handle(.connectionLost(1))
    }

    @Test func aPlannedEndThatCannotBeWrittenDownDropsNothing() throws {
        let guest = try guest()
        try committed(guest)
        _ = try guest.handle(.hello(hello(), room, on: 2))
        try failRecords(true)
        let end = PlannedEnd(reason: .unprotect, generation: 6)
        #expect(throws: (any Error).self) { try guest.handle(.received(.plannedEnd(end), on: 2)) }
        _ = try guest.handle(.failure(.failure, "its record", on: 2))
        guest.state.withLock { state in
            #expect(state.machine.facts == StandbyFacts(state: .image, generation: 5))
            #expect(state.machine.image?.epoch == 0 && state.image != nil)
        }
        try failRecords(false)
        _ = try guest.handle(.hello(hello(), room, on: 3))
        #expect(guest.state.withLock { $0.machine.liveConnection } == 3)
    }

    @Test func anImageWhoseRecordFailsIsNotAcknowledgedLaterEither() throws {
        let guest = try guest()
        _ = try guest.handle(.hello(hello(), room, on: 1))
        try failRecords(true)
        #expect(throws: (any Error).self) { try guest.handle(.epochWhole(0, on: 1)) }
        _ = try guest.handle(.failure(.failure, "its record", on: 1))
        // The same session comes back: nothing is welcomed before the record is there.
        #expect(throws: (any Error).self) { try guest.handle(.hello(hello(), room, on: 2)) }
        _ = try guest.handle(.failure(.failure, "its record", on: 2))
        try failRecords(false)
        _ = try guest.handle(.hello(hello(), room, on: 3))
        let record = try #require(try StandbyRecord.load(from: paths.standbyRecord(name)))
        #expect(record.state == .image && record.generation == 5)
    }

    @Test func aNewSessionThatCannotBeWrittenDownDropsNoImage() throws {
        let guest = try guest()
        try committed(guest)
        try failRecords(true)
        let next = hello(session: 10, generation: 6)
        #expect(throws: (any Error).self) { try guest.handle(.hello(next, room, on: 2)) }
        _ = try guest.handle(.failure(.failure, "its record", on: 2))
        guest.state.withLock { state in
            #expect(state.machine.facts.generation == 5 && state.machine.image?.session == 9)
            #expect(state.image != nil)
        }
        // The old session goes on.
        try failRecords(false)
        _ = try guest.handle(.hello(hello(), room, on: 3))
        #expect(guest.state.withLock { $0.machine.image?.epoch } == 0)
    }

    @Test func aRefusedHelloIsOverAtOnce() throws {
        let guest = try guest()
        try committed(guest)
        guest.state.withLock { state in
            let facts = state.machine.activated(as: 6, id: 1)
            state.machine.adopt(facts, runsHere: true, imageConsumed: false)
            state.activating = true
        }
        #expect(!guest.admits(hello(generation: 99), on: 2))
        guest.state.withLock { state in
            state.machine.runsHere = false
            state.activating = false
        }
        #expect(guest.state.withLock { $0.machine.liveConnection } == nil)
        #expect(!guest.admits(hello(generation: 99, stillValid: true), on: 3))
        #expect(guest.admits(hello(generation: 99), on: 4))
    }
}
