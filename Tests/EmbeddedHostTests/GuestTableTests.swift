import Glibc
import SystemSupport
import Testing

@testable import EmbeddedHost

/// The table in RAM against a dictionary, and the allocator below it.
@Suite(.timeLimit(.minutes(2)))
struct GuestTableTests {
    private func key(_ number: Int) -> [UInt8] { Array("key:\(number)".utf8) }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func agreesWithADictionary(_ seed: UInt64) throws {
        var random = Seeded(seed)
        let ram = try Mapping.anonymous(count: 2 << 20)
        let memory = GuestMemory(ram.bytes)
        var table = GuestTable.create(in: memory, seed: random.next())
        var model: [[UInt8]: [UInt8]] = [:]
        var refusals = 0
        // Few keys and large values fill RAM; many keys make the table grow.
        let keys = seed % 2 == 0 ? 300 : 6000
        let longest = seed % 2 == 0 ? 12000 : 60
        for step in 0..<60_000 {
            let key = key(Int.random(in: 0..<keys, using: &random))
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<55:
                let length = Int.random(in: 0...longest, using: &random)
                let value = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: length)
                let stored = key.withUnsafeBytes { key in value.withUnsafeBytes { table.set(key, $0) } }
                if stored { model[key] = value } else { refusals += 1 }
            case 55..<80:
                let removed = key.withUnsafeBytes { table.remove($0) }
                #expect(removed == (model.removeValue(forKey: key) != nil))
            case 99 where step % 1000 == 0:
                table.removeAll()
                model = [:]
            default: break
            }
            let found = key.withUnsafeBytes { table.value($0).map(Array.init) }
            guard found == model[key] else {
                Issue.record("seed \(seed), step \(step): \(String(describing: found))")
                return
            }
        }
        #expect(table.count == UInt64(model.count))
        if seed % 2 == 0 { #expect(refusals > 0) } else { #expect(table.buckets > 1024) }
        // The table found anew from its registers is the same one.
        let registers = GuestRegisters(
            memorySize: memory.size,
            heapTop: table.heapTop,
            tableRoot: table.tableRoot
        )
        let again = try #require(GuestTable(in: memory, registers: registers))
        for (key, value) in model {
            #expect(key.withUnsafeBytes { again.value($0).map(Array.init) } == value)
        }
        let reserved = memory.bytes(memory.size - 8192, 8192)
        #expect(reserved.allSatisfy { $0 == 0 }, "console and xenstore pages are never touched")
    }

    @Test func freedMemoryIsUsedAgain() throws {
        let ram = try Mapping.anonymous(count: 1 << 20)
        var table = GuestTable.create(in: GuestMemory(ram.bytes), seed: 7)
        let value = [UInt8](repeating: 1, count: 100_000)
        let anchor = Array("anchor".utf8)
        #expect(anchor.withUnsafeBytes { table.set($0, $0) })
        for round in 0..<1000 {
            let key = key(round)
            #expect(
                key.withUnsafeBytes { key in value.withUnsafeBytes { table.set(key, $0) } },
                "round \(round)"
            )
            #expect(key.withUnsafeBytes { table.remove($0) })
        }
    }

    @Test func everySizeFitsItsClass() {
        var last = -1
        for bytes in Array(1...5000 as ClosedRange<UInt64>) + [1 << 20, (1 << 20) + 1, 1 << 33] {
            let index = GuestHeap.sizeClass(bytes)
            #expect(
                index >= last && GuestHeap.blockSize(index) >= bytes && GuestHeap.blockSize(index) % 16 == 0
            )
            if index > 0 { #expect(GuestHeap.blockSize(index - 1) < bytes) }
            last = index
        }
        #expect(GuestHeap.sizeClass(8 << 30) < GuestHeap.classCount)
        #expect(512 + GuestHeap.listBytes <= 4096)
    }

    @Test func registersSurviveTheirEncodingAndNothingElseDoes() {
        var registers = GuestRegisters(memorySize: 16 << 20, heapTop: 12288, tableRoot: 4096)
        registers.commands = 7
        registers.virtualTime = 99
        registers.suspensions = 3
        let encoded = registers.encoded
        #expect(encoded.withUnsafeBytes { GuestRegisters($0) } == registers)
        for index in 0..<encoded.count {
            var damaged = encoded
            damaged[index] ^= 0x10
            #expect(damaged.withUnsafeBytes { GuestRegisters($0) } == nil)
            #expect(encoded[..<index].withUnsafeBytes { GuestRegisters($0) } == nil)
        }
    }
}
