import Glibc
import SystemSupport
import Testing

/// Pages arrive whole, wherever they lie and whoever copies them.
@Suite struct PageCopierTests {
    private static let pageSize = 4096

    /// Jobs of all sizes one after the other, with and without the second thread, from and to any address.
    @Test(arguments: [false, true], [0, 1, 8, 16])
    func copiesWhatWasAdded(_ helped: Bool, _ offset: Int) throws {
        let (pages, gap) = (PageCopier.capacity, 64)
        let stride = Self.pageSize + gap
        let source = try Mapping.anonymous(count: pages * Self.pageSize)
        let target = try Mapping.anonymous(count: (pages + 1) * stride)
        let copier = PageCopier(helped: helped)
        for (round, count) in [1, 31, 33, 400, 401, 1000, 1024, 1024, 40, 1024, 97, 200].enumerated() {
            for page in 0..<pages {
                let content = source.base + page * Self.pageSize
                memset(content, Int32(truncatingIfNeeded: page &+ round &* 31), Self.pageSize)
                content.storeBytes(of: UInt64(page), toByteOffset: 8 * (page % 512), as: UInt64.self)
            }
            memset(target.base, 0xEE, target.count)
            // As at the beginning of a pause: the helper is there, or it is not yet.
            if round % 4 < 2 { copier.pauseComes() }
            if round % 2 == 0 { copier.pauseBegins() }
            // From the last page to the first: nothing of the order is taken for granted.
            for index in 0..<count {
                copier.add(
                    source.base + (count - 1 - index) * Self.pageSize,
                    to: target.base + offset + index * stride
                )
            }
            copier.finish()
            copier.pauseEnds()
            for index in 0..<count {
                let copy = target.base + offset + index * stride
                let page = source.base + (count - 1 - index) * Self.pageSize
                let isSame = memcmp(copy, page, Self.pageSize) == 0
                #expect(isSame, "page \(index) of \(count)")
                let behind = UnsafeRawBufferPointer(start: copy + Self.pageSize, count: gap)
                #expect(behind.allSatisfy { $0 == 0xEE }, "behind page \(index) of \(count)")
            }
        }
    }

    @Test func whatIsClearedIsNotCopied() throws {
        let memory = try Mapping.anonymous(count: 3 * Self.pageSize)
        memory.bytes.initializeMemory(as: UInt8.self, repeating: 1)
        for index in Self.pageSize..<3 * Self.pageSize { memory.bytes[index] = 2 }
        let copier = PageCopier(helped: true)
        copier.add(memory.base, to: memory.base + Self.pageSize)
        copier.clear()
        copier.add(memory.base, to: memory.base + 2 * Self.pageSize)
        copier.finish()
        #expect(memory.bytes[Self.pageSize] == 2 && memory.bytes[2 * Self.pageSize] == 1)
    }
}
