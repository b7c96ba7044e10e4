/// What a checkpoint, or the end of a plain stream, must have.
extension StreamReader {
    private static let names: [(RuleState.Presence, String)] = [
        (.tsc, "X86_TSC_INFO"), (.sharedInfo, "SHARED_INFO"), (.vcpu0, "X86_PV_VCPU_BASIC of vcpu 0"),
        (.params, "HVM_PARAMS"), (.context, "HVM_CONTEXT"),
    ]

    func requireState() throws(StreamError) {
        let isPV = domain?.kind == .pv
        guard rules.memory != .none else { throw error(.missingRecord, "PAGE_DATA before \(current.name)") }
        let needed: RuleState.Presence
        if strict {
            needed = isPV ? [.tsc, .sharedInfo, .vcpu0] : [.tsc, .params, .context]
        } else {
            needed = isPV ? .vcpu0 : .context
        }
        let missing = needed.subtracting(strict ? rules.present : rules.everSeen)
        for (presence, name) in StreamReader.names where missing.contains(presence) {
            throw error(.missingRecord, "\(name) before \(current.name)")
        }
        guard isPV else { return }
        try requireVcpuBasics()
        try checkFrames()
    }

    // MARK: vcpus

    /// Bits of a vcpu's mark, one per record type.
    private static func bit(_ type: LibxcRecordType) -> UInt8 {
        switch type {
        case .x86PVVcpuBasic: 1
        case .x86PVVcpuExtended: 2
        case .x86PVVcpuXsave: 4
        default: 8
        }
    }

    /// Notes a vcpu's record; false if it was noted in this checkpoint already.
    mutating func mark(vcpu: Int, _ type: LibxcRecordType) -> Bool {
        var zero: UInt64 = 0
        while vcpuMarks.count <= vcpu {
            vcpuMarks.append(&zero, 8, limit: Int(options.budgets.vcpus) + 8)
        }
        let old = UnsafeRawPointer(vcpuMarks.base).u8(vcpu)
        let bit = StreamReader.bit(type)
        vcpuMarks.base.storeBytes(of: old | bit, toByteOffset: vcpu, as: UInt8.self)
        return old & bit == 0
    }

    private func requireVcpuBasics() throws(StreamError) {
        guard strict else { return }
        for vcpu in 0..<vcpuMarks.count {
            let mark = UnsafeRawPointer(vcpuMarks.base).u8(vcpu)
            guard mark == 0 || mark & 1 != 0 else {
                throw error(.missingRecord, "X86_PV_VCPU_BASIC of vcpu \(vcpu), which has other records")
            }
        }
    }

    // MARK: Frames that must be of a certain type

    /// What a frame is needed as, and by whom; packed with its PFN into one word.
    enum FrameUse: UInt64 {
        case startInfo = 0
        case gdt = 1
        case kernelTable = 2
        case userTable = 3

        var name: String {
            switch self {
            case .startInfo: "start_info"
            case .gdt: "the GDT"
            case .kernelTable: "cr3"
            case .userTable: "cr1"
            }
        }
    }

    /// Collects the frames that a vcpu's registers name. They are judged at the checkpoint, when all types are known.
    mutating func collectFrames(vcpu: Int, _ blob: UnsafeRawPointer, _ info: PVInfo) throws(StreamError) {
        let layout = PVLayout.VcpuContext.of(info)
        let limit = 17 * 8 * Int(options.budgets.vcpus)
        if vcpu == 0 { need(UInt64(blob.u32(layout.edx)), .startInfo, limit) }
        let entries = layout.load(blob, layout.gdtEntries)
        guard entries <= PVLayout.VcpuContext.maximumGDTEntries else {
            throw error(
                .badField,
                "a GDT of at most \(PVLayout.VcpuContext.maximumGDTEntries) entries, found \(entries)"
            )
        }
        let perFrame = PVLayout.VcpuContext.descriptorsPerFrame
        for index in 0..<Int((entries + perFrame - 1) / perFrame) {
            need(layout.load(blob, layout.gdtFrames + index * layout.word), .gdt, limit)
        }
        need(layout.cr3Frame(blob), .kernelTable, limit)
        if let user = layout.userTableFrame(blob) { need(user, .userTable, limit) }
    }

    private mutating func need(_ pfn: UInt64, _ use: FrameUse, _ limit: Int) {
        frames.append(min(pfn, PageEntry.maximumPFN) | use.rawValue << 56, limit: limit)
    }

    private func checkFrames() throws(StreamError) {
        for index in 0..<frames.words {
            let word = frames.word(index)
            guard let use = FrameUse(rawValue: word >> 56) else { continue }
            let isTable = use == .kernelTable || use == .userTable
            try checkFrame(
                word & PageEntry.maximumPFN,
                use.name,
                level: isTable ? rules.pvInfo.map { Int($0.pagingLevels) } : nil
            )
        }
        for index in 0..<p2mFrames.words { try checkFrame(p2mFrames.word(index), "the p2m", level: nil) }
    }

    private func checkFrame(_ pfn: UInt64, _ use: String, level: Int?) throws(StreamError) {
        guard pfn <= rules.maxPFN ?? 0 else {
            throw error(
                .pfnOutOfRange,
                "PFN 0x\(String(pfn, radix: 16)) of \(use) within the guest, which ends at "
                    + "0x\(String(rules.maxPFN ?? 0, radix: 16))"
            )
        }
        let found: String
        switch types.look(pfn) {
        case .unknown: return
        case .unseen: found = "never sent"
        case .seen(let type):
            if level == nil ? type == .normal : type.tableLevel == level { return }
            found = type.name
        }
        let wanted = level.map { "a page table of level \($0)" } ?? "an ordinary page"
        throw error(
            .wrongFrameType,
            "PFN 0x\(String(pfn, radix: 16)) of \(use) to be \(wanted), it is \(found)"
        )
    }
}
