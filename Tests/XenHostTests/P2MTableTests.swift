import Checkpoint
import Testing
import XenHost
import XenStream

/// A machine's memory: frames of 512 words.
private struct FakeMachine {
    var frames: [UInt64: [UInt64]] = [:]

    struct Missing: Error {}

    func read(_ frame: UInt64) throws -> [UInt64] {
        guard let words = frames[frame] else { throw Missing() }
        return words
    }

    mutating func set(_ frame: UInt64, _ index: Int, _ word: UInt64) {
        frames[frame, default: [UInt64](repeating: 0, count: 512)][index] = word
    }
}

@Suite struct P2MTableTests {
    private static let highest: UInt64 = 0xFFFF

    private func location(_ pages: Int, _ edit: (inout P2MLocation) -> Void) -> P2MLocation {
        var page = [UInt64](repeating: 0, count: 512)
        page[3088 / 8] = UInt64(pages)
        var location = Self.location(in: page)
        edit(&location)
        return location
    }

    private static func location(in page: [UInt64]) -> P2MLocation {
        page.withUnsafeBytes { P2MLocation($0.baseAddress.unsafelyUnwrapped, .pv64) }
    }

    private func present(_ frame: UInt64) -> UInt64 { frame << 12 | 1 }

    @Test func readsWhereTheTableIs() {
        var page = [UInt64](repeating: 0, count: 512)
        page[3088 / 8] = 0x8000
        page[3096 / 8] = 7
        page[3112 / 8] = 0x5000
        page[3120 / 8] = 0xFFFF_C900_0000_0000
        page[3128 / 8] = 2
        let found = Self.location(in: page)
        #expect(found.pageCount == 0x8000)
        #expect(found.treeRoot == 7)
        #expect(found.cr3 == 0x5000)
        #expect(found.address == 0xFFFF_C900_0000_0000)
        #expect(found.generation == 2)
    }

    /// A table that crosses from one L1 into the next.
    @Test func walksTheLinearTable() throws {
        var machine = FakeMachine()
        let address: UInt64 = 0xFFFF_C900_001F_F000
        machine.set(5, Int(address >> 39 & 511), present(6))
        machine.set(6, Int(address >> 30 & 511), present(7))
        machine.set(7, 0, present(8))
        machine.set(7, 1, present(9))
        machine.set(8, 511, present(100))
        machine.set(9, 0, present(101))
        machine.set(9, 1, present(102))
        let location = location(1025) {
            $0.cr3 = 5 << 12
            $0.address = address
        }
        let frames = try P2MTable.frames(location, .pv64, highest: Self.highest, read: machine.read)
        #expect(frames == [100, 101, 102])
    }

    @Test func refusesALinearTableWithAHole() {
        var machine = FakeMachine()
        machine.set(5, 0, present(6))
        machine.set(6, 0, present(7))
        machine.set(7, 0, present(8))
        machine.set(8, 0, present(0x10000))
        let location = location(512) { $0.cr3 = 5 << 12 }
        #expect(throws: P2MProblem.self) {
            try P2MTable.frames(location, .pv64, highest: Self.highest, read: machine.read)
        }
    }

    @Test func walksTheTree() throws {
        var machine = FakeMachine()
        machine.set(5, 0, 6)
        machine.set(5, 1, 7)
        for index in 0..<512 { machine.set(6, index, UInt64(1000 + index)) }
        machine.set(7, 0, 3000)
        let location = location(512 * 512 + 1) { $0.treeRoot = 5 }
        let frames = try P2MTable.frames(location, .pv64, highest: Self.highest, read: machine.read)
        #expect(frames.count == 513)
        #expect(frames.first == 1000)
        #expect(frames.last == 3000)
    }

    /// 32-bit guests have 1024 entries of four bytes to a page.
    @Test func walksTheTreeOf32Bit() throws {
        var machine = FakeMachine()
        machine.set(5, 0, 6)
        machine.set(6, 0, 0x65 << 32 | 0x64)
        let location = location(1025) { $0.treeRoot = 5 }
        let frames = try P2MTable.frames(location, .pv32, highest: Self.highest, read: machine.read)
        #expect(frames == [0x64, 0x65])
    }

    @Test func refusesATreeThatLeadsNowhere() {
        let machine = FakeMachine()
        for location in [
            location(1) { $0.treeRoot = 0 }, location(1) { $0.treeRoot = 0x10000 }, location(0) { _ in },
        ] {
            #expect(throws: P2MProblem.self) {
                try P2MTable.frames(location, .pv64, highest: Self.highest, read: machine.read)
            }
        }
    }
}
