/// The guest's allocator. All it knows lies in RAM, but for the top, which is a register.
///
/// Blocks come in classes, at most a quarter larger than asked: multiples of 16 up to 128 bytes, then four steps per
/// doubling. A freed block goes on the free list of its class (a word at its start links it); when the heap's end is
/// reached, larger free blocks are cut up.
struct GuestHeap {
    let memory: GuestMemory
    /// Address of the list heads, one word for each class, 0 for an empty list.
    let lists: UInt64
    /// The first address that is not the heap's.
    let end: UInt64
    /// The first address never given out.
    var top: UInt64

    static let classCount = 8 + 4 * 28
    static let listBytes = UInt64(classCount * 8)

    /// The class whose blocks hold `bytes` (1 ... 2^34).
    @inline(__always)
    static func sizeClass(_ bytes: UInt64) -> Int {
        if bytes <= 128 { return Int((max(bytes, 1) + 15) / 16) - 1 }
        // 2^doubling < bytes <= 2^(doubling + 1), at least 7.
        let doubling = 63 - (bytes - 1).leadingZeroBitCount
        let step = (bytes - 1 - (1 << UInt64(doubling))) >> UInt64(doubling - 2)
        return 8 + (doubling - 7) * 4 + Int(step)
    }

    /// Bytes of a block of class `index`.
    @inline(__always)
    static func blockSize(_ index: Int) -> UInt64 {
        if index < 8 { return UInt64(index + 1) * 16 }
        let doubling = UInt64((index - 8) / 4 + 7)
        return (1 << doubling) + UInt64((index - 8) % 4 + 1) << (doubling - 2)
    }

    /// A block for `bytes`, with its class; nil if RAM is full. Its content is whatever was there.
    mutating func allocate(_ bytes: UInt64) -> (address: UInt64, sizeClass: Int)? {
        guard bytes <= end else { return nil }
        let index = Self.sizeClass(bytes)
        if let address = pop(index) { return (address, index) }
        let size = Self.blockSize(index)
        if size <= end - top {
            defer { top += size }
            return (top, index)
        }
        for larger in index + 1..<Self.classCount {
            guard let address = pop(larger) else { continue }
            give(address + size, Self.blockSize(larger) - size)
            return (address, index)
        }
        return nil
    }

    /// Takes a block back.
    mutating func free(_ address: UInt64, sizeClass: Int) {
        let head = lists + UInt64(sizeClass * 8)
        memory.store(memory.load(head), at: address)
        memory.store(address, at: head)
    }

    /// Forgets every block: the whole heap from `start` on is free again.
    mutating func reset(start: UInt64) {
        memory.zero(lists, Self.listBytes)
        top = start
    }

    @inline(__always)
    private func pop(_ index: Int) -> UInt64? {
        let head = lists + UInt64(index * 8)
        let address = memory.load(head)
        guard address != 0 else { return nil }
        memory.store(memory.load(address), at: head)
        return address
    }

    /// Frees `count` bytes (a multiple of 16) as the largest blocks that fit.
    private mutating func give(_ start: UInt64, _ count: UInt64) {
        var address = start
        var left = count
        while left >= 16 {
            var index = Self.sizeClass(left)
            if Self.blockSize(index) > left { index -= 1 }
            free(address, sizeClass: index)
            address += Self.blockSize(index)
            left -= Self.blockSize(index)
        }
    }
}
