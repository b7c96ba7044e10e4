/// Where things lie in an image's meta memory. Everything is at a fixed place for a given page count, so that another
/// process can adopt an image knowing nothing but its three pieces of memory.
///
/// | part | holds |
/// |---|---|
/// | header | the fields below, in one page |
/// | prefix | the stream from its first byte to the first PAGE_DATA: configuration, headers, static data |
/// | state | the newest committed libxc state records, back to back |
/// | emulator | the newest committed libxl records of the device model |
/// | types | one byte a pfn: bit 7 seen, bit 6 holds data, bits 0 to 3 its PageType |
package struct ImageLayout: Equatable, Sendable {
    /// Bytes of a part. The memory is sparse: what is not used costs nothing.
    package static let header = 4096, prefixCapacity = 8 << 20, stateCapacity = 16 << 20,
        emulatorCapacity = 64 << 20

    package let pageCount: Int

    package init(pageCount: Int) { self.pageCount = pageCount }

    var prefix: Int { Self.header }
    var state: Int { prefix + Self.prefixCapacity }
    var emulator: Int { state + Self.stateCapacity }
    var types: Int { emulator + Self.emulatorCapacity }
    /// Bytes of meta memory.
    package var metaSize: Int { (types + pageCount + guestPageSize - 1) / guestPageSize * guestPageSize }
    /// Bytes of guest memory.
    package var memorySize: Int { pageCount * guestPageSize }

    /// Offsets of the header's 64-bit fields.
    enum Field: Int {
        case magic = 0
        case version = 8
        case uuidHigh = 16, uuidLow = 24
        case generation = 32, session = 40
        case pageCount = 48, kind = 56
        /// Epoch + 1; 0 while none is sealed.
        case sealed = 64
        /// Epoch + 1 of what the memory holds; less than `sealed` while the epoch buffer is being applied.
        case applied = 72
        case sealedLength = 80
        case prefixLength = 88, stateLength = 96, emulatorLength = 104
        case populatedPages = 112
        case lastEchoedBeat = 120, aloneAfter = 128
        case protectPID = 136, protectStart = 144, guestPID = 152, guestStart = 160
        case startAttempted = 168
        case sealedAt = 176
        /// 1 if the guest is kept in a domain of its own, and this holds no page of it.
        case warm = 184
        /// 1 if the guest's output did not wait for acks.
        case unacknowledged = 192
        /// 1 if the guest has a writable disk that nobody replicates.
        case unreplicatedDisk = 200
        /// Texts: a length byte pair and then the bytes.
        case name = 256, address = 384, bootID = 704, host = 832
    }

    static let magic: UInt64 = 0x3147_4D49_4453_4D52  // "RMSDIMG1"
    static let version: UInt64 = 1
}
