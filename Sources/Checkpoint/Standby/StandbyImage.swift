import CKernels
import Synchronization
import XenStream

/// Why memory that was handed over is not an image to go on with.
package struct ImageError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// A guest's image on the standby, kept up to date at every commit, in three pieces of memory that a guardian may hold
/// as well: meta (`ImageLayout`), guest memory, and the epoch buffer.
///
/// A commit is a redo log: an epoch is sealed in the epoch buffer, then acknowledged, then applied. Whoever adopts the
/// memory applies a sealed epoch again; applying twice is applying once.
///
/// Unchecked: one session thread writes; other threads read through `snapshot` and the header's words only, under the
/// locks named there.
package final class StandbyImage: @unchecked Sendable {
    package let layout: ImageLayout
    let meta: UnsafeMutableRawBufferPointer
    package let memory: UnsafeMutableRawBufferPointer
    package let epochBuffer: UnsafeMutableRawBufferPointer
    /// Keeps the memory alive as long as this image.
    private let owner: AnyObject
    /// Held while an epoch is applied, so that a snapshot begins at a commit.
    let applyLock = Mutex(())
    /// The snapshot that is being read, if any; what is about to be overwritten is kept for it.
    let reader = Mutex<SnapshotKeeper?>(nil)

    private init(
        layout: ImageLayout,
        meta: UnsafeMutableRawBufferPointer,
        memory: UnsafeMutableRawBufferPointer,
        epochBuffer: UnsafeMutableRawBufferPointer,
        owner: AnyObject
    ) {
        self.layout = layout
        self.meta = meta
        self.memory = memory
        self.epochBuffer = epochBuffer
        self.owner = owner
    }

    /// A new, empty image for the guest of `hello` in zeroed memory of the layout's sizes.
    package convenience init(
        for hello: Hello,
        meta: UnsafeMutableRawBufferPointer,
        memory: UnsafeMutableRawBufferPointer,
        epochBuffer: UnsafeMutableRawBufferPointer,
        owner: AnyObject
    ) {
        let layout = ImageLayout(pageCount: hello.guest.pageCount)
        precondition(meta.count >= layout.metaSize && memory.count >= layout.memorySize)
        self.init(layout: layout, meta: meta, memory: memory, epochBuffer: epochBuffer, owner: owner)
        self[.version] = ImageLayout.version
        self[.uuidHigh] = hello.guest.uuid.high
        self[.uuidLow] = hello.guest.uuid.low
        self[.generation] = hello.generation
        self[.session] = hello.session
        self[.pageCount] = UInt64(layout.pageCount)
        self[.kind] = UInt64(hello.guest.kind.rawValue)
        self[.unacknowledged] = hello.unacknowledged ? 1 : 0
        self[.unreplicatedDisk] = hello.hasUnreplicatedDisk ? 1 : 0
        setText(.name, hello.guest.name)
        setText(.address, hello.guest.address)
        notePrimary(hello)
        self[.magic] = ImageLayout.magic
    }

    /// Adopts an image from memory that a guardian kept. A sealed epoch that was not applied is applied.
    package convenience init(
        adopting meta: UnsafeMutableRawBufferPointer,
        memory: UnsafeMutableRawBufferPointer,
        epochBuffer: UnsafeMutableRawBufferPointer,
        owner: AnyObject
    ) throws(ImageError) {
        guard meta.count > ImageLayout.header else { throw ImageError("its meta memory is cut short") }
        let pageCount = Int(
            meta.load(fromByteOffset: ImageLayout.Field.pageCount.rawValue, as: UInt64.self)
                & 0xFFFF_FFFF_FFFF
        )
        let layout = ImageLayout(pageCount: pageCount)
        guard meta.count >= layout.metaSize, memory.count >= layout.memorySize else {
            throw ImageError("its memory does not fit its \(pageCount) pages")
        }
        self.init(layout: layout, meta: meta, memory: memory, epochBuffer: epochBuffer, owner: owner)
        guard self[.magic] == ImageLayout.magic, self[.version] == ImageLayout.version else {
            throw ImageError("it was made by another version of remusd")
        }
        guard let epoch else { throw ImageError("it was never committed") }
        // Whoever died between storing a page and counting it left the count behind.
        self[.populatedPages] = UInt64((0..<layout.pageCount).count { holdsData($0) })
        if awaitsApply, !isWarm { try applySealed(epoch) {} }
    }

    // MARK: Facts

    subscript(field: ImageLayout.Field) -> UInt64 {
        get { meta.load(fromByteOffset: field.rawValue, as: UInt64.self) }
        set { meta.storeBytes(of: newValue, toByteOffset: field.rawValue, as: UInt64.self) }
    }

    /// The committed epoch, nil before epoch 0 is whole.
    package var epoch: UInt64? { self[.sealed] == 0 ? nil : self[.sealed] - 1 }
    /// The epoch that memory and state hold; one less than `epoch` between seal and apply.
    package var appliedEpoch: UInt64? { epoch == nil || self[.applied] == 0 ? nil : self[.applied] - 1 }
    package var generation: UInt64 { self[.generation] }
    package var session: UInt64 { self[.session] }
    package var kind: GuestKind { GuestKind(rawValue: UInt32(truncatingIfNeeded: self[.kind])) ?? .hvm }
    package var uuid: GuestUUID { GuestUUID(high: self[.uuidHigh], low: self[.uuidLow]) }
    package var name: String { text(.name) }
    package var address: String { text(.address) }
    package var primaryHost: String { text(.host) }
    package var primaryBootID: String { text(.bootID) }
    package var aloneAfter: TimeSpan { TimeSpan(nanoseconds: self[.aloneAfter]) }
    /// Pages of guest memory that hold data.
    package var populatedPages: Int { Int(self[.populatedPages]) }
    /// When the last epoch was sealed, by the boot clock.
    package var sealedAt: Instant { Instant(nanoseconds: self[.sealedAt]) }

    /// When this side sent the last heartbeat that the primary echoed, by this host's boot clock.
    package var lastEchoedBeat: Instant {
        get { Instant(nanoseconds: self[.lastEchoedBeat]) }
        set { self[.lastEchoedBeat] = newValue.nanoseconds }
    }

    /// Set just before a guest is started on this memory: from then on, if it is not running, nobody can say what the
    /// memory holds.
    package var startAttempted: Bool {
        get { self[.startAttempted] != 0 }
        set { self[.startAttempted] = newValue ? 1 : 0 }
    }

    /// The guest is kept in a domain of its own: epochs are sealed here and applied there (design, "warm").
    package var isWarm: Bool {
        get { self[.warm] != 0 }
        set { self[.warm] = newValue ? 1 : 0 }
    }

    /// The guest's output did not wait for acks (`Hello.unacknowledged`).
    package var unacknowledged: Bool { self[.unacknowledged] != 0 }
    /// The guest has a writable disk that nobody replicates (`Hello.hasUnreplicatedDisk`).
    package var hasUnreplicatedDisk: Bool { self[.unreplicatedDisk] != 0 }

    /// Whether the sealed epoch is still to be applied.
    package var awaitsApply: Bool { self[.applied] != self[.sealed] }
    /// Bytes of the sealed epoch in the epoch buffer.
    package var sealedLength: Int {
        min(Int(truncatingIfNeeded: self[.sealedLength] & 0xFFFF_FFFF_FFFF), epochBuffer.count)
    }
    /// The sealed epoch was applied to the guest's own domain.
    package func noteApplied(_ epoch: UInt64) { self[.applied] = epoch + 1 }

    package var protectProcess: ProcessIdentity {
        ProcessIdentity(pid: Int32(truncatingIfNeeded: self[.protectPID]), startTime: self[.protectStart])
    }
    package var guestProcess: ProcessIdentity {
        ProcessIdentity(pid: Int32(truncatingIfNeeded: self[.guestPID]), startTime: self[.guestStart])
    }

    /// Remembers who replicates: a later connection of the same session may come from another process.
    package func notePrimary(_ hello: Hello) {
        self[.aloneAfter] = hello.aloneAfter.nanoseconds
        self[.protectPID] = UInt64(UInt32(bitPattern: hello.protectProcess.pid))
        self[.protectStart] = hello.protectProcess.startTime
        self[.guestPID] = UInt64(UInt32(bitPattern: hello.guestProcess.pid))
        self[.guestStart] = hello.guestProcess.startTime
        setText(.bootID, hello.bootID)
        setText(.host, hello.host)
    }

    private func text(_ field: ImageLayout.Field) -> String {
        let length = Int(meta.load(fromByteOffset: field.rawValue, as: UInt16.self))
        guard length <= 300 else { return "" }
        return String(decoding: meta[field.rawValue + 2..<field.rawValue + 2 + length], as: UTF8.self)
    }

    private func setText(_ field: ImageLayout.Field, _ text: String) {
        let bytes = Array(text.utf8.prefix(field == .address ? 300 : 110))
        meta.storeBytes(of: UInt16(bytes.count), toByteOffset: field.rawValue, as: UInt16.self)
        UnsafeMutableRawBufferPointer(rebasing: meta[(field.rawValue + 2)...]).copyBytes(from: bytes)
    }

    // MARK: Parts

    /// The stream's bytes before the first PAGE_DATA.
    package var prefix: UnsafeRawBufferPointer {
        part(layout.prefix, .prefixLength, ImageLayout.prefixCapacity)
    }
    /// The committed state records.
    package var state: UnsafeRawBufferPointer { part(layout.state, .stateLength, ImageLayout.stateCapacity) }
    /// The committed records of the device model.
    package var emulator: UnsafeRawBufferPointer {
        part(layout.emulator, .emulatorLength, ImageLayout.emulatorCapacity)
    }

    private func part(_ offset: Int, _ length: ImageLayout.Field, _ capacity: Int) -> UnsafeRawBufferPointer {
        let count = min(Int(truncatingIfNeeded: self[length] & 0xFFFF_FFFF), capacity)
        return UnsafeRawBufferPointer(rebasing: meta[offset..<offset + count])
    }

    /// Appends to the prefix; false if it would grow too long.
    func appendPrefix(_ bytes: UnsafeRawBufferPointer) -> Bool {
        append(bytes, layout.prefix, .prefixLength, ImageLayout.prefixCapacity)
    }

    /// Shortens the prefix to what came before the first page.
    func truncatePrefix(_ length: UInt64) { self[.prefixLength] = min(length, self[.prefixLength]) }

    private func append(
        _ bytes: UnsafeRawBufferPointer,
        _ offset: Int,
        _ field: ImageLayout.Field,
        _ capacity: Int
    ) -> Bool {
        let used = Int(self[field])
        guard bytes.count <= capacity - used else { return false }
        UnsafeMutableRawBufferPointer(rebasing: meta[(offset + used)...]).copyMemory(from: bytes)
        self[field] = UInt64(used + bytes.count)
        return true
    }

    /// Begins a new set of state records.
    func clearState() {
        self[.stateLength] = 0
        self[.emulatorLength] = 0
    }

    /// Appends a state record, header and padding included; false if the set grows too long.
    func appendState(_ record: UnsafeRawBufferPointer) -> Bool {
        append(record, layout.state, .stateLength, ImageLayout.stateCapacity)
    }

    /// Appends a record of the device model; false if the set grows too long.
    func appendEmulator(_ record: UnsafeRawBufferPointer) -> Bool {
        append(record, layout.emulator, .emulatorLength, ImageLayout.emulatorCapacity)
    }

    // MARK: Pages

    private static let seen: UInt8 = 0x80, holdsData: UInt8 = 0x40

    /// The newest type of a pfn, nil if the stream never named it.
    package func type(of pfn: Int) -> PageType? {
        let entry = meta[layout.types + pfn]
        return entry & Self.seen == 0 ? nil : PageType(rawValue: entry & 0xF)
    }

    /// Whether memory holds data for `pfn`; if not, it reads as zeros.
    package func holdsData(_ pfn: Int) -> Bool { meta[layout.types + pfn] & Self.holdsData != 0 }

    /// The 4096 bytes of a page.
    package func page(_ pfn: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: memory[pfn * guestPageSize..<(pfn + 1) * guestPageSize])
    }

    /// What an encoded page may be a difference from: the page as the last committed epoch left it, once that is applied.
    /// Nil where the guest's memory is not kept here.
    func reference(_ pfn: Int) -> UnsafeRawBufferPointer? {
        isWarm || pfn >= layout.pageCount ? nil : page(pfn)
    }

    /// The encodings that a primary may send epochs for this image in.
    package var encodings: PageEncodings { isWarm ? .selfContained : .all }

    private func mutablePage(_ pfn: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory[pfn * guestPageSize..<(pfn + 1) * guestPageSize])
    }

    /// Stores a page; of a warm image only that it is there. A page of zeros that is not there yet stays a hole. `pfn` < the page count.
    func store(_ entry: PageEntry, _ content: UnsafeRawBufferPointer?) {
        let pfn = Int(entry.pfn)
        let old = meta[layout.types + pfn]
        var flags = old & Self.holdsData | Self.seen
        if let content {
            let isNew = old & Self.holdsData == 0
            if !isNew || !ckernels_is_zero(content.baseAddress, content.count) {
                if !isWarm { ckernels_copy_page(mutablePage(pfn).baseAddress, content.baseAddress) }
                flags |= Self.holdsData
                if isNew { self[.populatedPages] += 1 }
            }
        }
        meta[layout.types + pfn] = flags | entry.type.rawValue
    }

    // MARK: Commit

    /// Seals epoch `epoch`, whose `length` bytes lie whole and checked in the epoch buffer (0 for epoch 0, which is
    /// applied as it comes). From here on it is the committed one, whoever dies.
    package func seal(_ epoch: UInt64, length: Int, at now: Instant) {
        self[.sealedLength] = UInt64(length)
        self[.sealedAt] = now.nanoseconds
        if epoch == 0 { self[.applied] = 1 }
        meta.baseAddress?.advanced(by: ImageLayout.Field.sealed.rawValue)
            .assumingMemoryBound(to: Atomic<UInt64>.self).pointee
            .store(epoch + 1, ordering: .sequentiallyConsistent)
    }

    /// Brings memory and state to the sealed epoch.
    /// - Parameter progress: called after each record, at most 128 MiB apart, so that the caller can give signs of life.
    package func applySealed(_ epoch: UInt64, progress: () -> Void) throws(ImageError) {
        let length = Int(truncatingIfNeeded: self[.sealedLength] & 0xFFFF_FFFF_FFFF)
        guard length <= epochBuffer.count else { throw ImageError("its epoch buffer is cut short") }
        let bytes = UnsafeRawBufferPointer(rebasing: epochBuffer[..<length])
        try applyLock.withLock { _ throws(ImageError) in
            clearState()
            var records = EpochRecords(bytes)
            while let record = try records.next() {
                switch record.kind {
                case .pages(let entries, let contents): try storePages(entries, contents)
                case .state:
                    guard appendState(record.bytes) else {
                        throw ImageError("its state records are too long")
                    }
                case .emulator:
                    guard appendEmulator(record.bytes) else {
                        throw ImageError("its device model state is too long")
                    }
                case .mark: break
                }
                progress()
            }
            self[.applied] = epoch + 1
        }
    }

    /// Stores one PAGE_DATA record's pages, saving what a snapshot in progress still needs.
    private func storePages(
        _ entries: UnsafeRawBufferPointer,
        _ contents: UnsafeRawBufferPointer
    ) throws(ImageError) {
        try reader.withLock { keeper throws(ImageError) in
            var offset = 0
            for index in 0..<entries.count / 8 {
                guard let entry = PageEntry(encoded: entries.loadLE(at: index * 8)),
                    entry.pfn < layout.pageCount
                else {
                    throw ImageError("a page entry is out of range")
                }
                keeper?.keep(Int(entry.pfn), of: self)
                if entry.type.carriesData {
                    guard contents.count - offset >= guestPageSize else {
                        throw ImageError("page contents are cut short")
                    }
                    store(entry, UnsafeRawBufferPointer(rebasing: contents[offset..<offset + guestPageSize]))
                    offset += guestPageSize
                } else {
                    store(entry, nil)
                }
            }
        }
    }
}
