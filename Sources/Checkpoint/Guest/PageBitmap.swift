/// A set of pfns as 64-bit words, bit 0 of word 0 first: the form of Xen's own log-dirty bitmap.
///
/// Owns its words for its whole life: nothing here allocates after `init`.
package struct PageBitmap: ~Copyable {
    /// Pages it can hold, pfns 0 ..< pageCount.
    package let pageCount: Int
    private let words: UnsafeMutableBufferPointer<UInt64>

    /// An empty set of pfns below `pageCount`.
    package init(pageCount: Int) {
        self.pageCount = pageCount
        words = .allocate(capacity: (pageCount + 63) / 64)
        words.initialize(repeating: 0)
    }

    deinit { words.deallocate() }

    /// Adds one pfn. `pfn` < `pageCount`.
    package mutating func insert(_ pfn: Int) {
        precondition(pfn >= 0 && pfn < pageCount)
        words[pfn >> 6] |= 1 << UInt64(pfn & 63)
    }

    /// Adds the pfns of `range`.
    package mutating func insert(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= pageCount)
        var pfn = range.lowerBound
        while pfn < range.upperBound {
            if pfn & 63 == 0, range.upperBound - pfn >= 64 {
                words[pfn >> 6] = .max
                pfn += 64
            } else {
                words[pfn >> 6] |= 1 << UInt64(pfn & 63)
                pfn += 1
            }
        }
    }

    /// Whether `pfn` is in the set.
    package func contains(_ pfn: Int) -> Bool {
        pfn >= 0 && pfn < pageCount && words[pfn >> 6] & (1 << UInt64(pfn & 63)) != 0
    }

    /// Takes every pfn out.
    package mutating func removeAll() { words.update(repeating: 0) }

    /// Adds every pfn of `other`, which has the same page count.
    package mutating func formUnion(_ other: borrowing PageBitmap) {
        precondition(other.pageCount == pageCount)
        for index in words.indices { words[index] |= other.words[index] }
    }

    /// Adds the pfns of a bitmap in the same form; bits beyond the page count are not looked at.
    /// - Returns: whether it had any.
    @discardableResult
    package mutating func formUnion(words other: UnsafeBufferPointer<UInt64>) -> Bool {
        precondition(other.count >= words.count)
        guard let last = words.indices.last else { return false }
        let tail: UInt64 = pageCount & 63 == 0 ? .max : (1 << UInt64(pageCount & 63)) - 1
        var any: UInt64 = 0
        for index in 0..<last {
            words[index] |= other[index]
            any |= other[index]
        }
        words[last] |= other[last] & tail
        return any | other[last] & tail != 0
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
        for index in start >> 6...(end - 1) >> 6 {
            var mask = UInt64.max
            if index == start >> 6 { mask &= .max << UInt64(start & 63) }
            if index == (end - 1) >> 6 { mask &= .max >> UInt64(63 - (end - 1) & 63) }
            words[index] |= other.words[index] & mask
            other.words[index] &= ~mask
        }
    }

    /// How many pfns are in the set.
    package var count: Int {
        var sum = 0
        for word in words { sum += word.nonzeroBitCount }
        return sum
    }

    /// Writes ascending pfns from `start` on into `output` until it is full or the set ends.
    /// - Returns: how many were written, and the pfn to go on from (`pageCount` at the end).
    package func next(
        from start: Int,
        into output: UnsafeMutableBufferPointer<UInt64>
    ) -> (count: Int, resume: Int) {
        var written = 0
        var index = start >> 6
        guard start < pageCount else { return (0, pageCount) }
        var word = words[index] & (.max << UInt64(start & 63))
        while true {
            while word != 0 {
                let pfn = index << 6 + word.trailingZeroBitCount
                if written == output.count { return (written, pfn) }
                output[written] = UInt64(pfn)
                written += 1
                word &= word - 1
            }
            index += 1
            guard index < words.count else { return (written, pageCount) }
            word = words[index]
        }
    }
}
