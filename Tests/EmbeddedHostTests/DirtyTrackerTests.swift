import Checkpoint
import EmbeddedHost
import Foundation
import Glibc
import SystemSupport
import Testing

/// Both ways to find written pages, against what was really written. A real guest process is the one that writes.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct DirtyTrackerTests {
    /// The kernel's tracking on a mapping of this process, page by page.
    @Test func pagemapSeesWritesAndOnlyThem() throws {
        let pages = 512
        let file = try Memfd.create(name: "tracked", size: pages * 4096)
        let memory = try Mapping.shared(file, count: pages * 4096)
        for pfn in stride(from: 0, to: pages, by: 3) { memory.bytes[pfn * 4096] = 1 }
        let tracking = try WriteTracking(memory)
        let scan = try PagemapScan(pid: getpid())
        let base = UInt64(UInt(bitPattern: memory.base))
        let range = base..<base + UInt64(memory.count)
        func written() throws -> Set<Int> {
            var found: Set<Int> = []
            try scan.takeWritten(in: range) {
                found.formUnion(Int(($0.lowerBound - base) >> 12)..<Int(($0.upperBound - base) >> 12))
            }
            return found
        }
        #expect(try written().count == pages, "the first scan finds, and protects, every page")
        #expect(try written().isEmpty)
        var random = Seeded(11)
        var sum = 0
        for round in 0..<50 {
            var model: Set<Int> = []
            for _ in 0..<Int.random(in: 0...60, using: &random) {
                let pfn = Int.random(in: 0..<pages, using: &random)
                if Bool.random(using: &random) {
                    memory.bytes[pfn * 4096 + Int.random(in: 0..<4096, using: &random)] &+= 1
                    model.insert(pfn)
                } else {
                    sum += Int(memory.bytes[pfn * 4096])  // reading a hole populates it, and is no write
                }
            }
            #expect(try written() == model, "round \(round), sum \(sum)")
        }
        withExtendedLifetime(tracking) {}
    }

    @Test(arguments: [DirtyTracking.pagemap, .compare])
    func findsWhatTheGuestWrote(_ tracking: DirtyTracking) throws {
        let process = try GuestProcess()
        let guest = try process.control(tracking)
        let client = try Client(process.address)
        for key in 0..<2000 { #expect(try client.ask("SET", "k\(key)", "some value of key \(key)") == "+OK") }
        let replica = try Replica(guest)
        try replica.start()
        try replica.checkpoint(cut: false)
        #expect(try replica.checkpoint(cut: false) == 0, "nothing written, nothing dirty")
        #expect(try client.ask("GET", "k5") == "some value of key 5")
        #expect(try replica.checkpoint(cut: false) == 0, "reading is not writing")
        #expect(try client.ask("SET", "k5", "SOME VALUE OF KEY 5") == "+OK")
        #expect(try replica.checkpoint(cut: false) == 1, "one value in place, one page")
        // A restart starts from nothing dirty and goes on finding everything.
        #expect(try client.ask("SET", "k6", "SOME VALUE OF KEY 6") == "+OK")
        try guest.startDirtyTracking()
        #expect(try replica.checkpoint(cut: false) == 0)
        #expect(try client.ask("SET", "k7", "SOME VALUE OF KEY 7") == "+OK")
        #expect(try replica.checkpoint(cut: false) == 1)
        guest.stopDirtyTracking()
        guest.stopDirtyTracking()
    }

    @Test func aWrittenValueLiesInTheImage() throws {
        let process = try GuestProcess()
        let client = try Client(process.address)
        let needle = Array("the-needle-in-the-memfd".utf8)
        #expect(try client.ask("SET", "where", String(decoding: needle, as: UTF8.self)) == "+OK")
        let guest = try process.control()
        let replica = try Replica(guest)
        try replica.start()
        try replica.checkpoint(cut: false)
        #expect(Data(replica.image.bytes).range(of: Data(needle)) != nil)
        #expect(GuestRegisters.find(inStateRecords: replica.state)?.commands == 1)
    }
}
