/// Guest RAM as the guest's own program sees it: numbers at physical addresses.
///
/// Every access is checked against the RAM's size: a damaged image stops the guest, it never reaches outside.
struct GuestMemory {
    /// Where the RAM is mapped in this process. Never part of guest state.
    let base: UnsafeMutableRawPointer
    /// Bytes of RAM.
    let size: UInt64

    init(_ bytes: UnsafeMutableRawBufferPointer) {
        guard let base = bytes.baseAddress else { preconditionFailure("a guest has RAM") }
        self.base = base
        size = UInt64(bytes.count)
    }

    @inline(__always)
    private func pointer(_ address: UInt64, _ count: UInt64) -> UnsafeMutableRawPointer {
        precondition(address <= size && count <= size - address, "access outside guest RAM")
        return base + Int(address)
    }

    @inline(__always)
    func load(_ address: UInt64) -> UInt64 { pointer(address, 8).load(as: UInt64.self) }

    @inline(__always)
    func store(_ value: UInt64, at address: UInt64) {
        pointer(address, 8).storeBytes(of: value, as: UInt64.self)
    }

    @inline(__always)
    func load32(_ address: UInt64) -> UInt32 { pointer(address, 4).load(as: UInt32.self) }

    @inline(__always)
    func store32(_ value: UInt32, at address: UInt64) {
        pointer(address, 4).storeBytes(of: value, as: UInt32.self)
    }

    /// The bytes at `address`, valid until the guest's program writes there.
    @inline(__always)
    func bytes(_ address: UInt64, _ count: UInt64) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: pointer(address, count), count: Int(count))
    }

    /// Copies bytes from outside into RAM.
    @inline(__always)
    func write(_ source: UnsafeRawBufferPointer, at address: UInt64) {
        guard let from = source.baseAddress, source.count > 0 else { return }
        pointer(address, UInt64(source.count)).copyMemory(from: from, byteCount: source.count)
    }

    func zero(_ address: UInt64, _ count: UInt64) {
        pointer(address, count).initializeMemory(as: UInt8.self, repeating: 0, count: Int(count))
    }
}
