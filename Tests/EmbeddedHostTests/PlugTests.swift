import Checkpoint
import EmbeddedHost
import Glibc
import SystemSupport
import Testing

/// The plug's rules, seen by a client from outside.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct PlugTests {
    private let process: GuestProcess
    init() throws { process = try GuestProcess() }

    private func suspendAndCut(_ guest: EmbeddedGuest, _ epoch: UInt64) throws {
        #expect(
            try guest.suspend(deadline: Instant(nanoseconds: Clock.boot + 2_000_000_000)) == .suspended
        )
        try guest.output.cut(epoch: epoch)
        try guest.resume()
    }

    /// Waits until the guest holds at least one byte more than `bytes`.
    private func waitForHeld(_ guest: EmbeddedGuest, moreThan bytes: Int) {
        for _ in 0..<200 where guest.output.heldBytes() <= bytes { usleep(5000) }
    }

    @Test func outputLeavesOnlyWithItsEpoch() throws {
        let guest = try process.control()
        #expect(!guest.output.wasClosed)
        let client = try Client(process.address)
        #expect(try client.ask("INCR", "n") == ":1", "open until the first cut")
        try suspendAndCut(guest, 1)
        try client.send("INCR", "n")
        #expect(client.reply(milliseconds: 100) == nil)
        try guest.output.release(epoch: 1)
        #expect(client.reply(milliseconds: 100) == nil, "it belongs to epoch 2")
        waitForHeld(guest, moreThan: 0)
        try suspendAndCut(guest, 2)
        try client.send("INCR", "n")
        waitForHeld(guest, moreThan: 4)
        #expect(guest.output.heldBytes() == 8)
        #expect(throws: GuestError.self) { try guest.output.cut(epoch: 3) }
        #expect(throws: GuestError.self) { try guest.output.release(epoch: 3) }
        #expect(client.reply(milliseconds: 50) == nil)
        try guest.output.release(epoch: 2)
        #expect(client.reply() == ":2")
        #expect(client.reply(milliseconds: 100) == nil)
        // An order whose answer was lost is given again, and does nothing more.
        try guest.output.release(epoch: 2)
        #expect(client.reply(milliseconds: 100) == nil)
        #expect(throws: GuestError.self) { try guest.output.release(epoch: 1) }
        try guest.output.releaseAll()
        #expect(client.reply() == ":3")
        #expect(try client.ask("INCR", "n") == ":4")
        #expect(guest.output.heldBytes() == 0)
    }

    @Test func staysShutWhenItsControllerGoesAndTheGuestRunsOn() throws {
        var guest: EmbeddedGuest? = try process.control()
        let client = try Client(process.address)
        try suspendAndCut(try #require(guest), 7)
        try client.send("INCR", "n")
        #expect(throws: GuestError.self) { _ = try process.control() }
        // It goes while the guest is suspended.
        #expect(
            try guest?.suspend(deadline: Instant(nanoseconds: Clock.boot + 2_000_000_000)) == .suspended
        )
        guest?.detach()
        guest = nil
        try client.send("INCR", "n")
        #expect(client.reply(milliseconds: 200) == nil)
        let next = try process.control()
        #expect(next.output.wasClosed)
        waitForHeld(next, moreThan: 4)
        #expect(next.output.heldBytes() == 8, "both commands were executed, so the guest runs")
        // The successor's first cut takes over what its predecessor had cut.
        try suspendAndCut(next, 1)
        #expect(client.reply(milliseconds: 50) == nil)
        try next.output.release(epoch: 1)
        #expect(client.reply() == ":1")
        #expect(client.reply() == ":2")
    }

    @Test func droppedOutputNeverComes() throws {
        let guest = try process.control()
        let client = try Client(process.address)
        try suspendAndCut(guest, 1)
        try client.send("INCR", "n")
        waitForHeld(guest, moreThan: 0)
        try guest.output.dropAll()
        #expect(client.reply(milliseconds: 500) == nil)
        for _ in 0..<100 where guest.output.heldBytes() != 0 { usleep(5000) }
        #expect(guest.output.heldBytes() == 0)
        #expect(throws: GuestError.self) { try guest.output.release(epoch: 1) }
        if let late = try? Client(process.address) {
            try? late.send("PING")
            #expect(late.reply(milliseconds: 200) == nil)
        }
        try guest.output.releaseAll()
        #expect(try Client(process.address).ask("PING") == "+PONG")
    }

    @Test func heldOutputOfAClientThatLeftIsDropped() throws {
        let guest = try process.control()
        try suspendAndCut(guest, 1)
        do {
            let client = try Client(process.address)
            for _ in 0..<100 { try client.send("PING") }
            waitForHeld(guest, moreThan: 699)
            #expect(guest.output.heldBytes() == 700)
        }
        for _ in 0..<200 where guest.output.heldBytes() != 0 { usleep(5000) }
        #expect(guest.output.heldBytes() == 0)
        try guest.output.release(epoch: 1)
    }

    @Test func aFullPlugStopsTheRequestsAndLosesNothing() throws {
        let guest = try process.control()
        let address = process.address
        let setup = try Client(address)
        let size = 4 << 20
        #expect(try setup.ask("SET", "big", String(repeating: "x", count: size)) == "+OK")
        try suspendAndCut(guest, 1)
        let asked = 60
        // 240 MiB of answers, for a limit of 64 MiB.
        let client = try Client(address)
        for _ in 0..<asked { try client.send("GET", "big") }
        var last = -1
        for _ in 0..<500 {
            usleep(20_000)
            let held = guest.output.heldBytes()
            // On a busy machine the guest may pause for longer than this looks.
            if held == last, held >= 60 << 20 { break }
            last = held
        }
        #expect(last >= 60 << 20 && last <= (64 << 20) + size + 64)
        let complete = Monitor(-1)
        let reader = try WorkerThread("reader") {
            var count = 0
            while count < asked, client.reply(milliseconds: 10_000)?.utf8.count == size { count += 1 }
            complete.withLock { $0 = count }
        }
        var epoch: UInt64 = 1
        while complete.withLock({ $0 }) < 0 {
            try guest.output.release(epoch: epoch)
            usleep(20_000)
            #expect(guest.output.heldBytes() <= (64 << 20) + size + 64)
            epoch += 1
            try suspendAndCut(guest, epoch)
        }
        reader.join()
        #expect(complete.withLock { $0 } == asked)
    }
}
