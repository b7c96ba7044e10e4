import XenStream

/// What a guest of the benchmark writes: eight words in each of some pages, all of them drawn. The peer draws the same
/// (bench/libxenguest-peer.c): the same seed dirties the same pages, with the same words.
struct PageWriter {
    static let wordsPerPage = 512
    /// Written of each page.
    static let words = 8

    private var random: SplitMix

    init(seed: UInt64) { random = SplitMix(state: seed) }

    /// Writes to `count` pages, each once, and sets their bits.
    /// - Parameters:
    ///   - memory: of the guest, from its first page on.
    ///   - dirty: a bit for each page; `count` of them at least are clear.
    mutating func write(
        pages count: Int,
        of pageCount: Int,
        in memory: UnsafeMutablePointer<UInt64>,
        dirty: UnsafeMutablePointer<UInt64>
    ) {
        var left = count
        while left > 0 {
            let pfn = Int(random.next() % UInt64(pageCount))
            let bit: UInt64 = 1 << UInt64(pfn & 63)
            guard dirty[pfn >> 6] & bit == 0 else { continue }
            dirty[pfn >> 6] |= bit
            let page = memory + pfn * Self.wordsPerPage
            for _ in 0..<Self.words {
                let word = Int(random.next() % UInt64(Self.wordsPerPage))
                page[word] = random.next()
            }
            left -= 1
        }
    }

    /// Fills `words` words.
    mutating func fill(_ memory: UnsafeMutablePointer<UInt64>, words: Int) {
        for index in 0..<words { memory[index] = random.next() }
    }
}
