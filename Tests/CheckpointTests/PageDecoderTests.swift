import Testing
import XenStream

@testable import Checkpoint

/// Encoded frames byte for byte, and what a hostile one comes to.
@Suite struct PageDecoderTests {
    /// The image's page `pfn` is filled with its number; 16 pages are there.
    private static let image = (0..<16).map { [UInt8](repeating: UInt8($0), count: guestPageSize) }

    private static func decode(_ items: [UInt8], _ count: Int) throws(EncodedFrameError) -> [UInt8] {
        var decoder = PageDecoder()
        return try decode(items, count, &decoder)
    }

    /// Decodes into memory with guards on both sides.
    private static func decode(_ items: [UInt8], _ count: Int, _ decoder: inout PageDecoder)
        throws(EncodedFrameError)
        -> [UInt8]
    {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count + 128, alignment: 16)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0xEE)
        let target = UnsafeMutableRawBufferPointer(rebasing: memory[64..<64 + count])
        let flat = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 * guestPageSize, alignment: 16)
        defer { flat.deallocate() }
        for pfn in 0..<16 {
            flat[pfn * guestPageSize..<(pfn + 1) * guestPageSize].copyBytes(from: image[pfn])
        }
        let source = UnsafeMutableRawBufferPointer.allocate(byteCount: items.count, alignment: 1)
        defer { source.deallocate() }
        source.copyBytes(from: items)
        var failure: EncodedFrameError?
        do throws(EncodedFrameError) {
            try decoder.decode(UnsafeRawBufferPointer(source), into: target) { pfn in
                pfn < 16
                    ? UnsafeRawBufferPointer(rebasing: flat[pfn * guestPageSize..<(pfn + 1) * guestPageSize])
                    : nil
            }
        } catch {
            failure = error
        }
        #expect(memory.prefix(64).allSatisfy { $0 == 0xEE } && memory.suffix(64).allSatisfy { $0 == 0xEE })
        if let failure { throw failure }
        return Array(target)
    }

    private static func head(_ entries: [UInt64], pages: Int) -> [UInt8] {
        func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
            withUnsafeBytes(of: value.littleEndian) { Array($0) }
        }
        let length = UInt32(8 + 8 * entries.count + pages * guestPageSize)
        return [1, length, UInt32(entries.count), 0].flatMap { bytes($0) } + entries.flatMap { bytes($0) }
    }

    @Test func itemsByteForByte() throws {
        // Pages 2 and 3, a page table at 9, a hole at 10, page 5.
        let entries: [UInt64] = [2, 3, 0x9 << 60 | 9, 0xE << 60 | 10, 5]
        // 2 from -1: distance 2; then 0; then 5 with a new type; 0 with a new type; -6 with a new type.
        var items: [UInt8] = [0, 3, 0, 7, 8, 9]  // Three bytes as they are.
        items += [1, 5, 0, 4, 0, 11, 9, 1, 0xE, 0xF5, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0]
        items += [3]  // Page 2: zeros.
        items += [4]  // Page 3: as it was.
        items += [14, 63, 0x80, 0x80, 0x77]  // Page 9: its last byte; one group is listed.
        items += [13, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]  // Page 5: its first word.
        var nine = Self.image[9]
        nine[guestPageSize - 1] = 0x77
        var five = Self.image[5]
        five.replaceSubrange(0..<8, with: [1, 2, 3, 4, 5, 6, 7, 8])
        var expected: [UInt8] = [7, 8, 9]
        expected += Self.head(entries, pages: 4)
        for page in [Self.image[0], Self.image[3], nine, five] { expected += page }
        #expect(try Self.decode(items, expected.count) == expected)
        // Every byte counts: neither fewer nor more than said.
        for count in [expected.count - 1, expected.count + 1] {
            #expect(throws: EncodedFrameError.self) { try Self.decode(items, count) }
        }
        for length in 0..<items.count {
            #expect(throws: EncodedFrameError.self) {
                try Self.decode(Array(items[..<length]), expected.count)
            }
        }
    }

    @Test func aRecordGoesOnInTheNextFrame() throws {
        var decoder = PageDecoder()
        let head = try Self.decode([1, 2, 0, 6, 0], 32, &decoder)
        #expect(head == Self.head([3, 4], pages: 2))
        #expect(try Self.decode([4], guestPageSize, &decoder) == Self.image[3])
        #expect(try Self.decode([3], guestPageSize, &decoder) == [UInt8](repeating: 0, count: guestPageSize))
        #expect(throws: EncodedFrameError("a page that no record announced")) {
            try Self.decode([3], guestPageSize, &decoder)
        }
        _ = try Self.decode([1, 2, 0, 6, 0], 32, &decoder)
        decoder.restart()
        #expect(throws: EncodedFrameError.self) { try Self.decode([4], guestPageSize, &decoder) }
    }

    struct Bad: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let items: [UInt8]

        init(_ description: String, _ items: [UInt8]...) {
            testDescription = description
            self.items = items.flatMap { $0 }
        }
    }

    /// Pages 3 and 4.
    private static let record: [UInt8] = [1, 2, 0, 6, 0]

    private static func many(_ byte: UInt8, _ count: Int) -> [UInt8] {
        [UInt8](repeating: byte, count: count)
    }

    private static let bad: [Bad] = [
        Bad("a literal of no bytes", [0, 0, 0]),
        Bad("a literal with a number", [8, 1, 0, 1]),
        Bad("a literal amid pages", record, [0, 1, 0, 1]),
        Bad("a record amid pages", record, record),
        Bad("a record of no pages", [1, 0, 0]),
        Bad("a record of too many pages", [1, 1, 4], many(0, 1025)),
        Bad("an endless number", [1, 1, 0], many(0x80, 20)),
        Bad("a pfn of too many bits", [1, 1, 0], many(0xFF, 7), [0x7F]),
        Bad("a type that is none", [1, 1, 0, 1, 0x10]),
        Bad("a plain page with a number", record, [10], many(0, 8192)),
        Bad("more pages than announced", record, [0x13]),
        Bad("a page without a record", [3]),
        Bad("LZ4 with a number", record, [15, 2, 0, 0x10, 0x41]),
        Bad("LZ4 that is none", record, [7, 2, 0, 0x10, 0x41]),
        Bad("a page that the image has not", [1, 1, 0, 40, 4]),
        Bad("a pfn far away", [1, 1, 0], many(0xFE, 7), [0x0F, 4]),
        Bad("a difference of nothing", record, [13, 0, 0]),
        Bad("groups out of order", record, [0x16, 1, 1, 1, 1, 0, 1, 1, 1]),
        Bad("a group beyond the page", record, [14, 64, 1, 1, 1]),
        Bad("too many listed", record, [0x46], many(1, 64)),
        Bad("few groups by a word", record, [6, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]),
    ]

    @Test(arguments: bad) func aBadFrameIsRefused(_ bad: Bad) {
        #expect(throws: EncodedFrameError.self) { try Self.decode(bad.items, 3 * guestPageSize) }
    }

    /// Random items, and damaged right ones: refused or decoded, never a byte beyond the target.
    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func anythingIsRefusedOrDecoded(_ seed: UInt64) throws {
        var random = SplitMix(state: seed)
        var good: [UInt8] = [0, 2, 0, 1, 2, 1, 4, 0, 2, 0, 0, 0, 3, 4, 14, 63, 0x80, 0x80, 0x77]
        good += [6, 0xFF, 1, 0, 0, 0, 0, 0, 0]
        for _ in 0..<9 { good += [1, 1, 5] }
        let count = 2 + 16 + 32 + 4 * guestPageSize
        _ = try Self.decode(good, count)
        var decoded = 0
        for round in 0..<1500 {
            var items = good
            if round % 3 == 0 {
                items = (0..<Int.random(in: 0...80, using: &random)).map { _ in
                    UInt8.random(in: 0...(round % 2 == 0 ? 255 : 15), using: &random)
                }
            } else {
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    items[Int.random(in: items.indices, using: &random)] = .random(
                        in: 0...255,
                        using: &random
                    )
                }
                if round % 5 == 0 { items.removeLast(Int.random(in: 1...items.count, using: &random)) }
            }
            if (try? Self.decode(items, count)) != nil { decoded += 1 }
        }
        #expect(decoded < 1500)
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func aListIsWhatItWas(_ seed: UInt64) throws {
        var random = SplitMix(state: seed)
        for _ in 0..<200 {
            let types: [UInt64] = [0, 0, 0, 1, 9, 0xC, 0xD, 0xE, 0xF]
            let limit: UInt64 = Bool.random(using: &random) ? 1 << 52 : 5000
            let entries = (0..<Int.random(in: 1...200, using: &random)).map { _ in
                UInt64.random(in: 0..<limit, using: &random)
                    | (types.randomElement(using: &random) ?? 0) << 60
            }
            var coded = [UInt8](repeating: 0, count: entries.count * PageList.widestEntry)
            let length = try #require(PageList.encode(entries, count: entries.count, into: &coded))
            #expect(length <= coded.count)
            var back = [UInt64](repeating: 0, count: entries.count)
            let read = try back.withUnsafeMutableBufferPointer { back in
                try coded.withUnsafeBytes { try PageList.decode($0, into: back) }
            }
            #expect(back == entries && read == length)
        }
        var none = [UInt8](repeating: 0, count: 9)
        #expect(PageList.encode([1 << 52] as [UInt64], count: 1, into: &none) == nil)
    }
}
