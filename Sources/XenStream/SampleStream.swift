/// Small well-formed streams with made-up memory, for tests and demonstrations of whatever takes a stream.
package struct SampleStream: Sendable {
    /// The kinds of guest.
    package enum Guest: Sendable, CaseIterable {
        /// A 32-bit PV guest.
        case pv32
        /// A 64-bit PV guest.
        case pv64
        /// An HVM or PVH guest, without device model.
        case hvm
        /// An HVM guest with a device model's records.
        case hvmWithEmulator
    }

    /// The guest.
    package var guest: Guest
    /// How many PFNs it has, 16 or more.
    package var pages: Int
    /// How many checkpoints follow each other; 0 makes a plain image.
    package var checkpoints: Int
    /// Chooses which pages are dirty and what is in them.
    package var seed: UInt64
    /// The outermost layer.
    package var outermost: StreamLayer

    /// A sample.
    package init(
        _ guest: Guest,
        pages: Int = 24,
        checkpoints: Int = 0,
        seed: UInt64 = 1,
        outermost: StreamLayer = .xl
    ) {
        precondition(pages >= 16, "SampleStream: 16 PFNs or more")
        self.guest = guest
        self.pages = pages
        self.checkpoints = checkpoints
        self.seed = seed
        self.outermost = outermost
    }

    /// PFNs with a role in the PV samples.
    package static let startInfoPFN: UInt64 = 1
    /// The kernel's page table, and the user's.
    package static let tablePFN: UInt64 = 2
    /// The GDT.
    package static let gdtPFN: UInt64 = 3
    /// The p2m.
    package static let p2mPFN: UInt64 = 4
    /// A hole.
    package static let holePFN: UInt64 = 5

    private var info: PVInfo? {
        switch guest {
        case .pv32: .pv32
        case .pv64: .pv64
        case .hvm, .hvmWithEmulator: nil
        }
    }

    /// The JSON of the xl layer.
    package var json: String {
        #"{"c_info":{"type":"\#(info != nil ? "pv" : guest == .hvm ? "pvh" : "hvm")","name":"sample"}}"#
    }

    /// The whole stream.
    package func bytes() -> [UInt8] { Array(pieces().joined()) }

    /// The stream, one element per header and per record.
    package func pieces() -> [[UInt8]] {
        var pieces = preamble()
        var random = SplitMix(state: seed)
        for epoch in 0..<max(1, checkpoints) {
            pieces += memory(epoch: UInt64(epoch), &random) + state(epoch: UInt64(epoch))
            guard checkpoints > 0 else { continue }
            pieces.append(piece { $0.appendRecord(LibxcRecordType.checkpoint) })
            guard outermost != .libxc else { continue }
            pieces += emulator() + [piece { $0.appendRecord(LibxlRecordType.checkpointEnd) }]
        }
        guard checkpoints == 0 else { return pieces }
        pieces.append(piece { $0.appendRecord(LibxcRecordType.end) })
        guard outermost != .libxc else { return pieces }
        return pieces + emulator() + [piece { $0.appendRecord(LibxlRecordType.end) }]
    }

    private func piece(_ body: (inout StreamWriter) -> Void) -> [UInt8] {
        let capacity = 16384 + RecordFraming.pageSize * pages + 16 * pages
        return Array(unsafeUninitializedCapacity: capacity) { buffer, count in
            var writer = StreamWriter(UnsafeMutableRawBufferPointer(buffer))
            body(&writer)
            count = writer.count
        }
    }

    private func preamble() -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        if outermost == .xl {
            pieces.append(
                piece { writer in Array(json.utf8).withUnsafeBytes { writer.appendXLHeader(json: $0) } }
            )
        }
        if outermost != .libxc {
            pieces.append(piece { $0.appendLibxlHeader() })
            pieces.append(piece { $0.appendRecord(LibxlRecordType.libxcContext) })
        }
        pieces.append(piece { $0.appendImageHeader() })
        let kind: GuestKind = info == nil ? .hvm : .pv
        pieces.append(piece { $0.appendDomainHeader(.init(kind: kind, xenMajor: 4, xenMinor: 17)) })
        if let info { pieces.append(piece { $0.appendPVInfo(info) }) }
        let leaf = CPUIDPolicyEntry(leaf: 0, subleaf: .max, eax: 13, ebx: 1, ecx: 2, edx: 3)
        pieces.append(piece { writer in [leaf].withUnsafeBufferPointer { writer.appendCPUIDPolicy($0) } })
        let register = MSRPolicyEntry(index: 0xCE, value: 1 << 31)
        pieces.append(piece { writer in [register].withUnsafeBufferPointer { writer.appendMSRPolicy($0) } })
        pieces.append(piece { $0.appendRecord(LibxcRecordType.staticDataEnd) })
        if let info {
            let header = P2MFramesHeader(endPFN: UInt32(pages - 1))
            let frames = (0..<Int(header.frameCount(info))).map { SampleStream.p2mPFN + UInt64($0) * 4 }
            pieces.append(
                piece { writer in
                    frames.withUnsafeBufferPointer { writer.appendP2MFrames(header, frames: $0) }
                }
            )
        }
        return pieces
    }

    /// What a PFN is in this sample.
    package func type(_ pfn: UInt64) -> PageType {
        if pfn == SampleStream.holePFN { return .absent }
        guard let info, pfn == SampleStream.tablePFN else { return .normal }
        return info == .pv64 ? .l4Pinned : .l3Pinned
    }

    /// Every byte of a page's content.
    package func fill(_ pfn: UInt64, epoch: UInt64) -> UInt8 {
        UInt8(truncatingIfNeeded: (pfn &* 31 &+ epoch &* 7 &+ seed) | 1)
    }

    private func memory(epoch: UInt64, _ random: inout SplitMix) -> [[UInt8]] {
        var entries: [PageEntry] = []
        for pfn in 0..<UInt64(pages) where epoch == 0 || random.next() & 3 == 0 {
            entries.append(PageEntry(pfn: pfn, type: type(pfn)))
        }
        guard !entries.isEmpty else { return [] }
        let half = entries.count / 2
        return [entries[..<half], entries[half...]].filter { !$0.isEmpty }.map { batch in
            piece { writer in
                var place = Array(batch).withUnsafeBufferPointer { writer.beginPageData($0) }
                for entry in batch where entry.type.carriesData {
                    let content = writer.memory[place..<place + RecordFraming.pageSize]
                    for index in content.indices { writer.memory[index] = fill(entry.pfn, epoch: epoch) }
                    place += RecordFraming.pageSize
                }
            }
        }
    }

    private func state(epoch: UInt64) -> [[UInt8]] {
        let time = TSCInfo(khz: 2_400_000, nanoseconds: 1_000_000_000 + epoch, incarnation: 1)
        var pieces = [piece { $0.appendTSCInfo(time) }]
        guard let info else {
            let params = [
                HVMParam(index: HVMParam.storePFN, value: 6), .init(index: HVMParam.consolePFN, value: 7),
            ]
            pieces.append(piece { writer in params.withUnsafeBufferPointer { writer.appendHVMParams($0) } })
            let registers = [UInt8](repeating: UInt8(truncatingIfNeeded: epoch), count: 1032)
            let code = HVMContextEntry.cpuTypecode
            pieces.append(
                piece { writer in
                    registers.withUnsafeBytes { writer.appendHVMContext(typecode: code, payload: $0) }
                }
            )
            return pieces
        }
        let shared = [UInt8](repeating: 0, count: RecordFraming.pageSize)
        pieces.append(piece { writer in shared.withUnsafeBytes { writer.appendSharedInfo($0) } })
        for vcpu in 0..<UInt32(2) {
            pieces.append(vcpuPiece(.x86PVVcpuBasic, vcpu, registers(info, epoch)))
            pieces.append(
                vcpuPiece(.x86PVVcpuExtended, vcpu, [0, 0, 0, 0, 64] + [UInt8](repeating: 0, count: 59))
            )
            pieces.append(vcpuPiece(.x86PVVcpuXsave, vcpu, [UInt8](repeating: 3, count: 20)))
            pieces.append(vcpuPiece(.x86PVVcpuMSRs, vcpu, [UInt8](repeating: 0, count: 16)))
        }
        return pieces
    }

    private func vcpuPiece(_ type: LibxcRecordType, _ vcpu: UInt32, _ blob: [UInt8]) -> [UInt8] {
        piece { writer in blob.withUnsafeBytes { writer.appendVcpu(type, vcpu: vcpu, blob: $0) } }
    }

    private func registers(_ info: PVInfo, _ epoch: UInt64) -> [UInt8] {
        let layout = PVLayout.VcpuContext.of(info)
        var blob = [UInt8](repeating: UInt8(truncatingIfNeeded: epoch), count: layout.size)
        func set(_ offset: Int, _ value: UInt64, _ width: Int) {
            for byte in 0..<width {
                blob[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte))
            }
        }
        set(layout.edx, SampleStream.startInfoPFN, 4)
        set(layout.gdtFrames, SampleStream.gdtPFN, layout.word)
        set(layout.gdtEntries, 16, layout.word)
        set(layout.cr3, PVLayout.cr3(frame: SampleStream.tablePFN, word: layout.word), layout.word)
        if let cr1 = layout.cr1 { set(cr1, PVLayout.cr3(frame: SampleStream.tablePFN, word: 8) | 1, 8) }
        return blob
    }

    private func emulator() -> [[UInt8]] {
        guard guest == .hvmWithEmulator else { return [] }
        let keys = Array("physmap/0/start_addr\u{0}f0000000\u{0}physmap/0/size\u{0}800000\u{0}".utf8)
        let device = [UInt8](repeating: 0x51, count: 61)
        return [(LibxlRecordType.emulatorXenstoreData, keys), (.emulatorContext, device)].map {
            type,
            content in
            piece { writer in content.withUnsafeBytes { writer.appendEmulator(type, content: $0) } }
        }
    }
}

/// A small seeded generator, so that a failing sample can be made again (SplitMix64: Steele, Lea, Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
package struct SplitMix: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// A generator; equal states give equal numbers.
    package init(state: UInt64) { self.state = state }

    /// The next number.
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
