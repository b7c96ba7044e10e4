import Checkpoint
import Testing
import XenStream

/// The page bitmap does what a set of integers does.
@Suite struct PageBitmapTests {
    static func pfns(_ bitmap: borrowing PageBitmap, batch: Int, from start: Int = 0) -> [Int] {
        var found: [Int] = []
        var next = start
        let output = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: batch)
        defer { output.deallocate() }
        while next < bitmap.pageCount {
            let (count, resume) = bitmap.next(from: next, into: output)
            found += output[..<count].map { Int($0) }
            #expect(count == batch || resume == bitmap.pageCount)
            next = resume
        }
        return found
    }

    /// Xen's own bitmap, whose last word may have bits beyond the last page.
    @Test(arguments: [1, 63, 64, 65, 200]) func takesWords(_ pageCount: Int) {
        var bitmap = PageBitmap(pageCount: pageCount)
        var words = [UInt64](repeating: 0, count: (pageCount + 63) / 64)
        if pageCount & 63 != 0 { words[words.count - 1] = .max << UInt64(pageCount & 63) }
        var any = words.withUnsafeBufferPointer { bitmap.formUnion(words: $0) }
        #expect(!any)
        var count = bitmap.count
        #expect(count == 0)
        words[0] |= 1
        words[words.count - 1] |= 1 << UInt64((pageCount - 1) & 63)
        any = words.withUnsafeBufferPointer { bitmap.formUnion(words: $0) }
        #expect(any)
        let pfns = Self.pfns(bitmap, batch: 7)
        #expect(Set(pfns) == [0, pageCount - 1])
        words = words.map { _ in 0 }
        any = words.withUnsafeBufferPointer { bitmap.formUnion(words: $0) }
        #expect(!any)
        bitmap.remove(0)
        count = bitmap.count
        #expect(count == Set([0, pageCount - 1]).count - 1)
    }

    /// Few words, many, and all of them, on top of what is there.
    @Test(arguments: [200, 511, 512, 513, 4096, 9000], [1, 5, 40, 4000]) func addsWords(
        _ pageCount: Int,
        _ pages: Int
    ) {
        var random = SplitMix(state: UInt64(pageCount + pages))
        var bitmap = PageBitmap(pageCount: pageCount)
        var set: Set<Int> = []
        for _ in 0..<8 {
            var words = [UInt64](repeating: 0, count: (pageCount + 63) / 64)
            for _ in 0..<pages {
                let pfn = Int.random(in: 0..<pageCount, using: &random)
                words[pfn >> 6] |= 1 << UInt64(pfn & 63)
                set.insert(pfn)
            }
            let any = words.withUnsafeBufferPointer { bitmap.formUnion(words: $0) }
            #expect(any)
            let count = bitmap.count
            #expect(count == set.count)
            let pfns = Self.pfns(bitmap, batch: 64)
            #expect(pfns == set.sorted())
        }
        // What is there by the second level only: copied by it, nothing is lost.
        var copy = PageBitmap(pageCount: pageCount)
        copy.formUnion(bitmap)
        let pfns = Self.pfns(copy, batch: 64)
        #expect(pfns == set.sorted())
    }

    @Test(arguments: [1, 63, 64, 65, 200, 4096, 4097, 9000]) func equalsASet(_ pageCount: Int) {
        var random = SplitMix(state: UInt64(pageCount))
        var bitmap = PageBitmap(pageCount: pageCount), other = PageBitmap(pageCount: pageCount)
        var set: Set<Int> = [], otherSet: Set<Int> = []
        for step in 0..<400 {
            let pfn = Int.random(in: 0..<pageCount, using: &random)
            let low = Int.random(in: 0...pageCount, using: &random)
            let high = Int.random(in: low...pageCount, using: &random)
            switch Int.random(in: 0..<9, using: &random) {
            case 0, 1, 2:
                bitmap.insert(pfn)
                set.insert(pfn)
            case 3:
                other.insert(low..<high)
                otherSet.formUnion(low..<high)
            case 4:
                other.insert(pfn)
                otherSet.insert(pfn)
            case 5:
                bitmap.formUnion(other)
                set.formUnion(otherSet)
            case 6, 7:
                bitmap.move(from: &other, startingAt: low, below: high)
                let moved = otherSet.filter { (low..<high).contains($0) }
                set.formUnion(moved)
                otherSet.subtract(moved)
            default:
                guard step % 3 == 0 else { continue }
                bitmap.removeAll()
                set = []
            }
            let (count, isIn) = (bitmap.count, bitmap.contains(pfn))
            #expect(count == set.count)
            #expect(isIn == set.contains(pfn))
            let above = PageBitmapTests.pfns(bitmap, batch: 1 + step % 7, from: low)
            #expect(above == set.filter { $0 >= low }.sorted())
            let others = PageBitmapTests.pfns(other, batch: 5)
            #expect(others == otherSet.sorted())
        }
    }

    @Test func holdsNothingOutside() {
        var bitmap = PageBitmap(pageCount: 70)
        bitmap.insert(0..<70)
        let found = (bitmap.count, bitmap.contains(70), bitmap.contains(-1))
        #expect(found == (70, false, false))
    }

    @Test func aFullBatchAtTheLastPageEnds() {
        var bitmap = PageBitmap(pageCount: 128)
        bitmap.insert(126..<128)
        let output = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 2)
        defer { output.deallocate() }
        let (count, resume) = bitmap.next(from: 0, into: output)
        #expect(count == 2)
        #expect(resume == 128)
    }
}
