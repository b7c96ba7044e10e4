/// Memory that is kept and used again: it grows with what was really put into it, never with what was announced.
struct GrowingBuffer: ~Copyable {
    private(set) var base: UnsafeMutableRawPointer
    private(set) var capacity: Int
    private(set) var count = 0

    init(capacity: Int) {
        self.capacity = capacity
        base = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit { base.deallocate() }

    mutating func clear() { count = 0 }

    /// Appends bytes; `limit` is the most that will ever be in it, so that growth does not overshoot.
    mutating func append(_ source: UnsafeRawPointer, _ length: Int, limit: Int) {
        let needed = count + length
        if needed > capacity {
            let grown = max(needed, min(limit, capacity * 2))
            let moved = UnsafeMutableRawPointer.allocate(byteCount: grown, alignment: 16)
            moved.copyMemory(from: base, byteCount: count)
            base.deallocate()
            base = moved
            capacity = grown
        }
        (base + count).copyMemory(from: source, byteCount: length)
        count = needed
    }

    /// Appends one word.
    mutating func append(_ value: UInt64, limit: Int) {
        withUnsafeBytes(of: value) { bytes in
            guard let start = bytes.baseAddress else { return }
            append(start, 8, limit: limit)
        }
    }

    /// The word at `index`.
    func word(_ index: Int) -> UInt64 { base.load(fromByteOffset: 8 * index, as: UInt64.self) }

    /// How many words it holds.
    var words: Int { count / 8 }
}
