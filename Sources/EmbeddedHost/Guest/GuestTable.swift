/// The guest's key/value table: a hash table with chains, lying in RAM as addresses, that grows by one bucket at a
/// time (linear hashing), so that no command ever waits for a rehash.
///
/// Root, at `tableRoot`: u64 magic, u64 hash seed, u64 keys, u64 buckets, then the segments' addresses; at byte 512
/// the allocator's lists. Segment 0 holds buckets 0..<1024; segment k > 0 holds buckets 512 << k ..< 1024 << k.
/// Entry: u64 next, u32 hash, u32 size class, u32 key length, u32 value length, key, value.
struct GuestTable {
    let memory: GuestMemory
    private var heap: GuestHeap
    private let root: UInt64
    private let seed: UInt64

    /// Where a new guest's table root lies: page 1, so that address 0 means "none".
    static let firstRoot: UInt64 = 4096
    /// The last pages of RAM, console and xenstore, which the table never touches.
    static let reservedPages = 2

    private static let magic: UInt64 = 0x3165_6C62_6174_6D52
    private static let segments: UInt64 = 32
    private static let lists: UInt64 = 512
    private static let heapOffset: UInt64 = 4096
    private static let firstBuckets: UInt64 = 1024
    private static let entryHeader: UInt64 = 24

    /// Makes an empty table in RAM that reads as zeros.
    static func create(in memory: GuestMemory, seed: UInt64) -> GuestTable {
        memory.store(magic, at: firstRoot)
        memory.store(seed, at: firstRoot + 8)
        var table = GuestTable(memory, root: firstRoot, heapTop: firstRoot + heapOffset, seed: seed)
        table.removeAll()
        return table
    }

    /// Finds the table that the registers name: nil if it is not there.
    init?(in memory: GuestMemory, registers: GuestRegisters) {
        guard registers.memorySize == memory.size, registers.tableRoot <= memory.size - 3 * 4096,
            registers.tableRoot % 4096 == 0, memory.load(registers.tableRoot) == Self.magic
        else { return nil }
        let root = registers.tableRoot
        self.init(memory, root: root, heapTop: registers.heapTop, seed: memory.load(root + 8))
    }

    private init(_ memory: GuestMemory, root: UInt64, heapTop: UInt64, seed: UInt64) {
        self.memory = memory
        self.root = root
        self.seed = seed
        let end = memory.size - UInt64(Self.reservedPages * 4096)
        heap = GuestHeap(memory: memory, lists: root + Self.lists, end: end, top: heapTop)
    }

    /// The registers' part of the table's state.
    var heapTop: UInt64 { heap.top }
    /// The registers' part of the table's state.
    var tableRoot: UInt64 { root }

    /// Keys in the table.
    private(set) var count: UInt64 {
        get { memory.load(root + 16) }
        nonmutating set { memory.store(newValue, at: root + 16) }
    }

    /// Buckets in use.
    private(set) var buckets: UInt64 {
        get { memory.load(root + 24) }
        nonmutating set { memory.store(newValue, at: root + 24) }
    }

    /// The value of `key`, valid until the next change.
    func value(_ key: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let hash = hash(key)
        let entry = memory.load(find(key, hash))
        guard entry != 0 else { return nil }
        return memory.bytes(entry + Self.entryHeader + keyLength(entry), valueLength(entry))
    }

    /// Stores a value. False, and nothing changed, if RAM is full.
    mutating func set(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
        let hash = hash(key)
        let link = find(key, hash)
        let old = memory.load(link)
        let bytes = Self.entryHeader + UInt64(key.count) + UInt64(value.count)
        if old != 0, fits(bytes, in: old) {
            memory.write(value, at: old + Self.entryHeader + UInt64(key.count))
            memory.store32(UInt32(value.count), at: old + 20)
            return true
        }
        guard let block = heap.allocate(bytes) else { return false }
        let entry = block.address
        memory.store(old == 0 ? 0 : memory.load(old), at: entry)
        memory.store32(UInt32(truncatingIfNeeded: hash), at: entry + 8)
        memory.store32(UInt32(block.sizeClass), at: entry + 12)
        memory.store32(UInt32(key.count), at: entry + 16)
        memory.store32(UInt32(value.count), at: entry + 20)
        memory.write(key, at: entry + Self.entryHeader)
        memory.write(value, at: entry + Self.entryHeader + UInt64(key.count))
        memory.store(entry, at: link)
        if old != 0 {
            heap.free(old, sizeClass: Int(memory.load32(old + 12)))
        } else {
            count += 1
            if count > buckets { split() }
        }
        return true
    }

    /// Removes a key. False if it was not there.
    mutating func remove(_ key: UnsafeRawBufferPointer) -> Bool {
        let link = find(key, hash(key))
        let entry = memory.load(link)
        guard entry != 0 else { return false }
        if count == 1 {
            // The last one: the heap is given back whole, which undoes its fragmentation.
            removeAll()
            return true
        }
        memory.store(memory.load(entry), at: link)
        heap.free(entry, sizeClass: Int(memory.load32(entry + 12)))
        count -= 1
        return true
    }

    /// Empties the table; costs the same however full it is.
    mutating func removeAll() {
        heap.reset(start: root + Self.heapOffset)
        guard let first = heap.allocate(Self.firstBuckets * 8) else {
            preconditionFailure("RAM too small for a table")
        }
        memory.zero(first.address, Self.firstBuckets * 8)
        memory.zero(root + Self.segments, Self.lists - Self.segments)
        memory.store(first.address, at: root + Self.segments)
        count = 0
        buckets = Self.firstBuckets
    }

    // MARK: Entries

    @inline(__always)
    private func keyLength(_ entry: UInt64) -> UInt64 { UInt64(memory.load32(entry + 16)) }

    @inline(__always)
    private func valueLength(_ entry: UInt64) -> UInt64 { UInt64(memory.load32(entry + 20)) }

    /// Whether an entry's block can take `bytes` without being more than half empty.
    private func fits(_ bytes: UInt64, in entry: UInt64) -> Bool {
        let room = GuestHeap.blockSize(Int(memory.load32(entry + 12)))
        return bytes <= room && (bytes >= room / 2 || room <= 128)
    }

    /// The address of the link (bucket or `next`) that holds the key's entry, or the 0 that ends its chain.
    @inline(__always)
    private func find(_ key: UnsafeRawBufferPointer, _ hash: UInt64) -> UInt64 {
        var link = bucket(index(hash & 0xFFFF_FFFF))
        while true {
            let entry = memory.load(link)
            if entry == 0 { return link }
            if memory.load32(entry + 8) == UInt32(truncatingIfNeeded: hash),
                keyLength(entry) == UInt64(key.count),
                equal(memory.bytes(entry + Self.entryHeader, UInt64(key.count)), key)
            {
                return link
            }
            link = entry
        }
    }

    // MARK: Buckets

    /// The bucket of a hash among those in use.
    @inline(__always)
    private func index(_ hash: UInt64) -> UInt64 {
        let buckets = buckets
        let level: UInt64 = 1 << UInt64(63 - buckets.leadingZeroBitCount)
        let wide = hash & (level * 2 - 1)
        return wide < buckets ? wide : wide & (level - 1)
    }

    /// The address of bucket `index`.
    @inline(__always)
    private func bucket(_ index: UInt64) -> UInt64 {
        guard index >= Self.firstBuckets else { return memory.load(root + Self.segments) + index * 8 }
        let doubling = UInt64(63 - index.leadingZeroBitCount)
        return memory.load(root + Self.segments + (doubling - 9) * 8) + (index - 1 << doubling) * 8
    }

    /// Adds one bucket and moves to it the entries of its parent that belong there. With RAM full the table stays
    /// as it is, and its chains get longer.
    private mutating func split() {
        let new = buckets
        let level: UInt64 = 1 << UInt64(63 - new.leadingZeroBitCount)
        if new == level {
            let segment = UInt64(new.trailingZeroBitCount) - 9
            guard let block = heap.allocate(new * 8) else { return }
            memory.store(block.address, at: root + Self.segments + segment * 8)
        }
        var stay: UInt64 = 0
        var move: UInt64 = 0
        let parent = bucket(new - level)
        var entry = memory.load(parent)
        while entry != 0 {
            let next = memory.load(entry)
            if UInt64(memory.load32(entry + 8)) & level != 0 {
                memory.store(move, at: entry)
                move = entry
            } else {
                memory.store(stay, at: entry)
                stay = entry
            }
            entry = next
        }
        memory.store(stay, at: parent)
        memory.store(move, at: bucket(new))
        buckets = new + 1
    }

    // MARK: Bytes

    @inline(__always)
    private func equal(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        var offset = 0
        while offset + 8 <= a.count {
            if a.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                != b.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            {
                return false
            }
            offset += 8
        }
        while offset < a.count {
            if a[offset] != b[offset] { return false }
            offset += 1
        }
        return true
    }

    /// A seeded hash, eight bytes a step; the low 32 bits are what the table uses.
    @inline(__always)
    private func hash(_ key: UnsafeRawBufferPointer) -> UInt64 {
        func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
            let product = a.multipliedFullWidth(by: b)
            return product.high ^ product.low
        }
        var sum = seed ^ UInt64(key.count)
        var offset = 0
        while offset + 8 <= key.count {
            sum = mix(sum ^ key.loadUnaligned(fromByteOffset: offset, as: UInt64.self), 0x9E37_79B9_7F4A_7C15)
            offset += 8
        }
        var last: UInt64 = 0
        while offset < key.count {
            last = last << 8 | UInt64(key[offset])
            offset += 1
        }
        return mix(sum ^ last ^ 0xA076_1D64_78BD_642F, 0xE703_7ED1_A0B4_28DB)
    }
}
