import CKernels
import Checkpoint
import Glibc
import Testing
import XenStream

/// Memory that ends where nothing may be touched any more.
private final class EdgeMemory {
    private static let room = 4 * guestPageSize
    private let base: UnsafeMutableRawPointer

    init() throws {
        let base = mmap(
            nil,
            Self.room + guestPageSize,
            PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS,
            -1,
            0
        )
        self.base = try #require(base)
        try #require(base != MAP_FAILED)
        try #require(mprotect(self.base + Self.room, guestPageSize, PROT_NONE) == 0)
    }

    deinit { munmap(base, Self.room + guestPageSize) }

    /// The last `count` bytes that may be touched.
    func last(_ count: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base + Self.room - count, count: count)
    }

    func put(_ bytes: [UInt8]) -> UnsafeRawBufferPointer {
        last(bytes.count).copyBytes(from: bytes)
        return UnsafeRawBufferPointer(last(bytes.count))
    }
}

/// The page kernels against their Swift twins, on every way that this processor has.
@Suite struct DeltaKernelTests {
    static var ways: [ckernels_way] { [CKERNELS_BEST, CKERNELS_AVX2, CKERNELS_PLAIN] }

    /// A page and what it was before, of many kinds.
    static func pair(_ kind: Int, _ random: inout SplitMix) -> (page: [UInt8], old: [UInt8]) {
        let old = (0..<guestPageSize).map { _ in UInt8.random(in: 0...255, using: &random) }
        var page = old
        switch kind {
        case 0: break
        case 1: page[0] ^= 1
        case 2: page[guestPageSize - 1] ^= 0x80
        case 3: page = (0..<guestPageSize).map { _ in UInt8.random(in: 0...255, using: &random) }
        case 4: page = [UInt8](repeating: 0, count: guestPageSize)
        case 5:
            // Whole words; kinds below and above the most that are listed.
            for _ in 0..<Int.random(in: 1...20, using: &random) {
                let word = Int.random(in: 0..<512, using: &random) * 8
                for byte in word..<word + 8 { page[byte] = ~page[byte] }
            }
        case 6:
            for _ in 0..<Int.random(in: 1...400, using: &random) {
                page[Int.random(in: 0..<guestPageSize, using: &random)] = .random(in: 0...255, using: &random)
            }
        default:
            let start = Int.random(in: 0..<guestPageSize, using: &random)
            for byte in start..<min(guestPageSize, start + Int.random(in: 1...2000, using: &random)) {
                page[byte] ^= 0xA5
            }
        }
        return (page, old)
    }

    private func pack(_ way: ckernels_way, _ page: [UInt8], _ delta: inout ckernels_delta, narrow: Bool)
        -> [UInt8]
    {
        var target = [UInt8](repeating: 0, count: Int(CKERNELS_DELTA_ROOM))
        let length = ckernels_delta_pack(way, page, &delta, narrow, &target)
        return Array(target[..<length])
    }

    @Test(arguments: 0..<3, 1...6 as ClosedRange<UInt64>)
    func findAndPackAreTheTwins(_ way: Int, _ seed: UInt64) {
        var random = SplitMix(state: seed)
        for round in 0..<120 {
            let (page, old) = Self.pair(round % 8, &random)
            var shadow = old
            var delta = ckernels_delta()
            // What is fetched ahead changes nothing.
            let ahead = round % 3 == 0 ? nil : old.withUnsafeBytes { $0.baseAddress }
            ckernels_delta_find(Self.ways[way], page, &shadow, ahead, ahead, &delta)
            #expect(shadow == page)
            #expect((delta.groups == 0) == (page == old))
            for narrow in [false, true] where delta.groups != 0 {
                let packed = pack(Self.ways[way], page, &delta, narrow: narrow)
                #expect(packed == SwiftKernels.packDelta(of: page, from: old, narrow: narrow))
                #expect(packed.count == Int(narrow ? delta.narrow : delta.wide))
                #expect(packed.count <= Int(CKERNELS_DELTA_ROOM))
            }
        }
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func whatIsAppliedIsThePage(_ seed: UInt64) throws {
        let source = try EdgeMemory(), target = try EdgeMemory()
        var random = SplitMix(state: seed)
        for round in 0..<60 {
            let (page, old) = Self.pair(1 + round % 7, &random)
            for narrow in [false, true] {
                let packed = SwiftKernels.packDelta(of: page, from: old, narrow: narrow)
                let listed = Self.listed(page, old)
                _ = target.put(old)
                let bytes = source.put(packed)
                let used = ckernels_delta_apply(
                    bytes.baseAddress,
                    bytes.count,
                    listed,
                    narrow,
                    target.last(guestPageSize).baseAddress
                )
                #expect(used == packed.count)
                #expect(Array(target.last(guestPageSize)) == page)
                let twin = SwiftKernels.applyDelta(packed, listed: Int(listed), narrow: narrow, to: old)
                #expect(twin?.page == page && twin?.used == packed.count)
                // Cut short anywhere, it is refused; nothing beyond it is looked at.
                for count in [0, 1, packed.count / 2, packed.count - 1] where count < packed.count {
                    let cut = source.put(Array(packed[..<count]))
                    let scratch = target.last(guestPageSize).baseAddress
                    #expect(ckernels_delta_apply(cut.baseAddress, count, listed, narrow, scratch) == -1)
                }
            }
        }
    }

    static func listed(_ page: [UInt8], _ old: [UInt8]) -> UInt32 {
        let groups = (0..<64).filter { page[$0 * 64..<$0 * 64 + 64] != old[$0 * 64..<$0 * 64 + 64] }.count
        return groups <= 7 ? UInt32(groups) : 0
    }

    @Test func byteForByte() {
        let old = [UInt8](repeating: 0, count: guestPageSize)
        var page = old
        page[8] = 0x11
        page[64 * 3 + 63] = 0x22
        #expect(
            SwiftKernels.packDelta(of: page, from: old, narrow: false)
                == [0, 0x02, 0x11, 0, 0, 0, 0, 0, 0, 0, 3, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x22]
        )
        #expect(
            SwiftKernels.packDelta(of: page, from: old, narrow: true)
                == [0, 0x02, 0x01, 0x11, 3, 0x80, 0x80, 0x22]
        )
        for group in 8..<16 { page[group * 64] = 1 }
        let packed = SwiftKernels.packDelta(of: page, from: old, narrow: true)
        // Ten groups: a word says which.
        #expect(packed.prefix(12) == [0x09, 0xFF, 0, 0, 0, 0, 0, 0, 0x02, 0x01, 0x11, 0x80])
    }

    /// Whatever comes: what the twin says of it, and no byte beside the page, or beyond the source.
    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func anythingAppliedIsRefusedOrUnderstoodAsTheTwinDoes(_ seed: UInt64) throws {
        let source = try EdgeMemory(), target = try EdgeMemory()
        var random = SplitMix(state: seed)
        let old = [UInt8](repeating: 0x5A, count: guestPageSize)
        for round in 0..<400 {
            let most: UInt8 = round % 2 == 0 ? 255 : 3
            let bytes = (0..<Int.random(in: 0...(round % 3 == 0 ? 12 : 700), using: &random)).map { _ in
                UInt8.random(in: 0...most, using: &random)
            }
            let listed = UInt32.random(in: 0...31, using: &random) % (round % 4 == 0 ? 32 : 8)
            let narrow = Bool.random(using: &random)
            _ = target.put([UInt8](repeating: 0xEE, count: 64) + old)
            let place = source.put(bytes)
            let page = target.last(guestPageSize).baseAddress
            let used = ckernels_delta_apply(place.baseAddress, bytes.count, listed, narrow, page)
            let twin = SwiftKernels.applyDelta(bytes, listed: Int(listed), narrow: narrow, to: old)
            #expect(used == twin?.used ?? -1)
            if let twin { #expect(Array(target.last(guestPageSize)) == twin.page) }
            #expect(target.last(guestPageSize + 64).prefix(64).allSatisfy { $0 == 0xEE })
        }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func anLZ4BlockIsThePageOrRefused(_ seed: UInt64) throws {
        let source = try EdgeMemory(), target = try EdgeMemory()
        var random = SplitMix(state: seed)
        for round in 0..<40 {
            let words = Array("the guest's output is held until the standby has acknowledged it. ".utf8)
            var page = (0..<guestPageSize).map { words[$0 % words.count] }
            for _ in 0..<round * 40 {
                page[Int.random(in: 0..<guestPageSize, using: &random)] = .random(in: 0...255, using: &random)
            }
            var packed = [UInt8](repeating: 0, count: guestPageSize)
            let length = ckernels_lz4_encode(page, &packed, packed.count)
            guard length > 0 else { continue }
            let block = Array(packed[..<length])
            #expect(SwiftKernels.unpackLZ4(block) == page)
            #expect(ckernels_lz4_encode(page, &packed, length - 1) == 0)
            let room = target.last(guestPageSize)
            #expect(ckernels_lz4_decode(source.put(block).baseAddress, length, room.baseAddress))
            #expect(Array(room) == page)
            for _ in 0..<20 {
                var damaged = block
                damaged[Int.random(in: 0..<length, using: &random)] = .random(in: 0...255, using: &random)
                damaged.removeLast(Int.random(in: 0..<length, using: &random) / 2)
                // True or false; never a byte beyond either.
                _ = ckernels_lz4_decode(source.put(damaged).baseAddress, damaged.count, room.baseAddress)
            }
        }
        #expect(
            !ckernels_lz4_decode(
                source.put([0x10, 0x41]).baseAddress,
                2,
                target.last(guestPageSize).baseAddress
            )
        )
    }
}
