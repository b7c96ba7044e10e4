import CKernels
import Checkpoint
import Testing
import XenStream

/// The copy of pages: whole, in each way, wherever they lie; and nothing beside them is written.
@Suite struct CopyKernelTests {
    private static let stride = guestPageSize + 64
    static var ways: [ckernels_way] { [CKERNELS_BEST, CKERNELS_AVX2, CKERNELS_PLAIN] }

    /// Where the source of a page is: from the last to the first.
    private static func place(_ index: Int, _ offset: Int, of count: Int) -> Int {
        (count - 1 - index) * stride + 40 - offset
    }

    @Test(arguments: ways.indices, [0, 8, 16, 17, 40]) func copiesPages(_ way: Int, _ offset: Int) {
        let count = 7
        let room = (count + 1) * Self.stride
        let source = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 64)
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 64)
        defer {
            source.deallocate()
            target.deallocate()
        }
        var random = SplitMix(state: UInt64(offset + 1))
        for index in source.indices { source[index] = UInt8.random(in: 0...0xED, using: &random) }
        // Also fewer than are known.
        for copied in [1, count - 1, count] {
            target.initializeMemory(as: UInt8.self, repeating: 0xEE)
            let sources = (0..<count).map { index in
                source.baseAddress.map { UnsafeRawPointer($0 + Self.place(index, offset, of: count)) }
            }
            let targets = (0..<count).map { index in
                target.baseAddress.map { $0 + index * Self.stride + offset }
            }
            ckernels_copy_pages(Self.ways[way], sources, targets, copied, count)
            var expected = [UInt8](repeating: 0xEE, count: room)
            for index in 0..<copied {
                let from = Self.place(index, offset, of: count)
                let to = index * Self.stride + offset
                expected.replaceSubrange(to..<to + guestPageSize, with: source[from..<from + guestPageSize])
            }
            #expect(target.elementsEqual(expected), "\(copied) pages")
        }
    }
}
