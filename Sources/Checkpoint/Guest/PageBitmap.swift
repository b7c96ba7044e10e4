/// A set of pfns as 64-bit words, bit 0 of word 0 first: the form of Xen's own log-dirty bitmap. Above the words is a second
/// level, which knows those that may have bits: what is done to a set takes as long as there are pfns in it, not as the guest is large.
///
/// Owns its words for its whole life: nothing here allocates after `init`.
package struct PageBitmap: ~Copyable {
    /// Pages it can hold, pfns 0 ..< pageCount.
    package let pageCount: Int
    private let words: UnsafeMutableBufferPointer<UInt64>
    /// Bit w & 63 of w >> 6 is set if word w is not 0, and may be set if it is.
    private let used: UnsafeMutableBufferPointer<UInt64>

    /// An empty set of pfns below `pageCount`.
    package init(pageCount: Int) {
        self.pageCount = pageCount
        let count = (pageCount + 63) / 64
        words = .allocate(capacity: count)
        words.initialize(repeating: 0)
        used = .allocate(capacity: (count + 63) / 64)
        used.initialize(repeating: 0)
    }

    deinit {
        words.deallocate()
        used.deallocate()
    }

    /// Adds bits to a word.
    @inline(__always)
    private func add(_ bits: UInt64, to index: Int) {
        words[index] |= bits
        used[index >> 6] |= 1 << UInt64(index & 63)
    }

    /// Calls `body` for each word that may have bits.
    @inline(__always)
    private func forEachUsed(_ body: (_ index: Int) -> Void) {
        for group in used.indices {
            var bits = used[group]
            while bits != 0 {
                body(group << 6 + bits.trailingZeroBitCount)
                bits &= bits - 1
            }
        }
    }

    /// Adds one pfn. `pfn` < `pageCount`.
    package mutating func insert(_ pfn: Int) {
        precondition(pfn >= 0 && pfn < pageCount)
        add(1 << UInt64(pfn & 63), to: pfn >> 6)
    }

    /// Adds the pfns of `range`.
    package mutating func insert(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= pageCount)
        guard !range.isEmpty else { return }
        for index in range.lowerBound >> 6...(range.upperBound - 1) >> 6 {
            add(Self.mask(of: index, range.lowerBound, range.upperBound), to: index)
        }
    }

    /// The bits of a word that stand for pfns in `start ..< end`; it has some.
    private static func mask(of index: Int, _ start: Int, _ end: Int) -> UInt64 {
        var mask = UInt64.max
        if index == start >> 6 { mask &= .max << UInt64(start & 63) }
        if index == (end - 1) >> 6 { mask &= .max >> UInt64(63 - (end - 1) & 63) }
        return mask
    }

    /// Whether `pfn` is in the set.
    package func contains(_ pfn: Int) -> Bool {
        pfn >= 0 && pfn < pageCount && words[pfn >> 6] & (1 << UInt64(pfn & 63)) != 0
    }

    /// Takes every pfn out.
    package mutating func removeAll() {
        forEachUsed { words[$0] = 0 }
        used.update(repeating: 0)
    }

    /// Adds every pfn of `other`, which has the same page count.
    package mutating func formUnion(_ other: borrowing PageBitmap) {
        precondition(other.pageCount == pageCount)
        other.forEachUsed { add(other.words[$0], to: $0) }
    }

    /// Adds the pfns of a bitmap in the same form; bits beyond the page count are not looked at.
    /// - Returns: whether it had any.
    @discardableResult
    package mutating func formUnion(words other: UnsafeBufferPointer<UInt64>) -> Bool {
        precondition(other.count >= words.count)
        guard let last = words.indices.last else { return false }
        var any = false
        // Most are 0, and seen to be so by the cache line.
        for start in stride(from: 0, to: last, by: 8) {
            let end = min(start + 8, last)
            var bits: UInt64 = 0
            for index in start..<end { bits |= other[index] }
            guard bits != 0 else { continue }
            any = true
            // Which of the eight it is cannot be foretold: all are taken. They are of one word of the second level.
            var filled: UInt64 = 0
            for index in start..<end {
                words[index] |= other[index]
                filled |= (other[index] == 0 ? 0 : 1) << UInt64(index & 63)
            }
            used[start >> 6] |= filled
        }
        let tail = other[last] & (pageCount & 63 == 0 ? .max : (1 << UInt64(pageCount & 63)) - 1)
        if tail != 0 { add(tail, to: last) }
        return any || tail != 0
    }

    /// Takes one pfn out.
    package mutating func remove(_ pfn: Int) {
        precondition(pfn >= 0 && pfn < pageCount)
        words[pfn >> 6] &= ~(1 << UInt64(pfn & 63))
    }

    /// Takes over the pfns of `other` in `start ..< end`.
    package mutating func move(from other: inout PageBitmap, startingAt start: Int, below end: Int) {
        precondition(other.pageCount == pageCount && start >= 0 && end <= pageCount)
        guard start < end else { return }
        for index in start >> 6...(end - 1) >> 6 where other.words[index] != 0 {
            let mask = Self.mask(of: index, start, end)
            add(other.words[index] & mask, to: index)
            other.words[index] &= ~mask
        }
    }

    /// How many pfns are in the set.
    package var count: Int {
        var sum = 0
        forEachUsed { sum += words[$0].nonzeroBitCount }
        return sum
    }

    /// Writes ascending pfns from `start` on into `output` until it is full or the set ends.
    /// - Returns: how many were written, and the pfn to go on from (`pageCount` at the end).
    package func next(
        from start: Int,
        into output: UnsafeMutableBufferPointer<UInt64>
    ) -> (count: Int, resume: Int) {
        guard start < pageCount else { return (0, pageCount) }
        var written = 0
        let first = start >> 6
        var bits = used[first >> 6] & (.max << UInt64(first & 63))
        var group = first >> 6
        while true {
            while bits != 0 {
                let index = group << 6 + bits.trailingZeroBitCount
                var word = words[index]
                if index == first { word &= .max << UInt64(start & 63) }
                while word != 0 {
                    let pfn = index << 6 + word.trailingZeroBitCount
                    if written == output.count { return (written, pfn) }
                    output[written] = UInt64(pfn)
                    written += 1
                    word &= word - 1
                }
                bits &= bits - 1
            }
            group += 1
            guard group < used.count else { return (written, pageCount) }
            bits = used[group]
        }
    }
}
