/// Checks of whole bodies, and what follows from a record.
extension StreamReader {
    mutating func finishRecord<H: StreamHandler>(
        _ body: UnsafeRawBufferPointer,
        _ handler: inout H
    ) throws(StreamError) {
        if let type = current.libxlType {
            try checkLibxl(type, body)
            piece = .recordHeader
            handler.record(current, body: body)
            followLibxl(type, &handler)
        } else if let type = current.libxcType {
            try checkLibxc(type, body)
            piece = .recordHeader
            handler.record(current, body: body)
            followLibxc(type, &handler)
        }
    }

    // MARK: libxl

    private mutating func checkLibxl(
        _ type: LibxlRecordType,
        _ body: UnsafeRawBufferPointer
    ) throws(StreamError) {
        guard type == .emulatorXenstoreData || type == .emulatorContext, let base = body.baseAddress else {
            return
        }
        if strict {
            guard base.u32(0) <= EmulatorHeader.upstreamID else {
                throw error(.badField, "an emulator id of 0 to 2, found \(base.u32(0))")
            }
            guard base.u32(4) == 0 else { throw error(.badField, "emulator index 0, found \(base.u32(4))") }
            guard body.count > EmulatorHeader.size else {
                throw error(.badLength, "content after the emulator's id")
            }
        }
        if type == .emulatorContext {
            rules.hasEmulatorContext = true
        } else {
            try checkXenstoreData(UnsafeRawBufferPointer(rebasing: body[EmulatorHeader.size...]))
            rules.hasXenstoreData = true
        }
    }

    /// Packed NUL-terminated strings: key, value, key, value; keys are relative and not empty.
    private func checkXenstoreData(_ content: UnsafeRawBufferPointer) throws(StreamError) {
        guard content.isEmpty || content[content.count - 1] == 0 else {
            throw error(.badField, "xenstore data that ends with NUL")
        }
        var strings = 0
        var start = 0
        for index in content.indices where content[index] == 0 {
            if strings & 1 == 0, index == start || content[start] == UInt8(ascii: "/") {
                throw error(.badField, "relative xenstore keys that are not empty")
            }
            strings += 1
            start = index + 1
        }
        guard strings & 1 == 0 else { throw error(.badField, "a value for every xenstore key") }
    }

    private mutating func followLibxl<H: StreamHandler>(_ type: LibxlRecordType, _ handler: inout H) {
        switch type {
        case .libxcContext:
            layer = .libxc
            piece = .imageHeader
        case .checkpointEnd:
            layer = .libxc
            if rules.carriesEmulator == nil { rules.carriesEmulator = rules.hasEmulatorContext }
            commit(&handler)
        case .end:
            piece = .finished
            handler.end()
        case .emulatorContext, .emulatorXenstoreData, .checkpointState: break
        }
    }

    private mutating func commit<H: StreamHandler>(_ handler: inout H) {
        let committed = epoch
        completeEpoch()
        handler.checkpointEnd(epoch: committed)
    }

    // MARK: libxc

    private mutating func followLibxc<H: StreamHandler>(_ type: LibxcRecordType, _ handler: inout H) {
        switch type {
        case .verify: rules.memory = .verifying
        case .staticDataEnd: rules.staticDataEnd = true
        case .checkpoint:
            handler.checkpoint(epoch: epoch)
            if hasLibxl {
                layer = .libxl
                rules.libxlPlace = .inCheckpoint
            } else {
                commit(&handler)
            }
        case .end:
            rules.ended = true
            if hasLibxl {
                layer = .libxl
                rules.libxlPlace = .tail
            } else {
                piece = .finished
                handler.end()
            }
        default: break
        }
    }

    private mutating func checkLibxc(
        _ type: LibxcRecordType,
        _ body: UnsafeRawBufferPointer
    ) throws(StreamError) {
        switch type {
        case .x86PVInfo: try checkPVInfo(body)
        case .x86PVP2MFrames: try checkP2MFrames(body)
        case .x86CPUIDPolicy:
            try checkList(body, entry: CPUIDPolicyEntry.size)
            rules.hasCPUIDPolicy = true
        case .x86MSRPolicy:
            try checkList(body, entry: MSRPolicyEntry.size)
            rules.hasMSRPolicy = true
        case .x86TSCInfo: try checkTSC(body)
        case .sharedInfo:
            try requireLength(RecordFraming.pageSize)
            note(.sharedInfo)
        case .hvmContext: try checkHVMContext(body)
        case .hvmParams: try checkHVMParams(body)
        case .x86PVVcpuBasic, .x86PVVcpuExtended, .x86PVVcpuXsave, .x86PVVcpuMSRs: try checkVcpu(type, body)
        default: break
        }
    }

    private mutating func note(_ presence: RuleState.Presence) {
        rules.present.insert(presence)
        rules.everSeen.insert(presence)
    }

    private func requireLength(_ length: Int) throws(StreamError) {
        guard Int(current.length) != length else { return }
        throw error(.badLength, "a body of \(length) bytes, found \(current.length)")
    }

    // MARK: Static data

    private mutating func checkPVInfo(_ body: UnsafeRawBufferPointer) throws(StreamError) {
        guard let base = body.baseAddress, body.count >= PVInfo.size, !strict || body.count == PVInfo.size
        else {
            throw error(.badLength, "a body of \(PVInfo.size) bytes, found \(current.length)")
        }
        let info = PVInfo(guestWidth: base.u8(0), pagingLevels: base.u8(1))
        guard info.isLegal else {
            throw error(
                .badField,
                "width and paging levels 8 and 4 or 4 and 3, found \(info.guestWidth) and \(info.pagingLevels)"
            )
        }
        guard !strict || base.isZero(2, 6) else {
            throw error(.reservedBits, "reserved bytes 0", at: pieceStart + 2)
        }
        rules.pvInfo = info
    }

    private mutating func checkP2MFrames(_ body: UnsafeRawBufferPointer) throws(StreamError) {
        guard let base = body.baseAddress, body.count >= P2MFramesHeader.size, let info = rules.pvInfo else {
            throw error(
                .badLength,
                "a body of \(P2MFramesHeader.size) bytes or more, found \(current.length)"
            )
        }
        let header = P2MFramesHeader(startPFN: base.u32(0), endPFN: base.u32(4))
        guard header.startPFN <= header.endPFN, header.startPFN == 0 || !strict else {
            throw error(
                .badField,
                "the p2m from PFN 0 on, found 0x\(String(header.startPFN, radix: 16)) to "
                    + "0x\(String(header.endPFN, radix: 16))"
            )
        }
        let highest = UInt64(header.endPFN)
        guard highest <= options.budgets.highestPFN else {
            throw error(
                .overBudget,
                "PFNs up to 0x\(String(options.budgets.highestPFN, radix: 16)), "
                    + "announced is 0x\(String(highest, radix: 16))"
            )
        }
        let count = header.frameCount(info)
        guard UInt64(body.count) == 8 + 8 * count else {
            throw error(.badLength, "\(8 + 8 * count) bytes for \(count) frames, found \(current.length)")
        }
        types.prepare(highest: highest, budget: options.budgets.pageTypeBytes)
        p2mFrames.clear()
        let kept = 8 * (types.capacity / 512 + 1)
        for index in 0..<Int(count) {
            let pfn = base.u64(8 + 8 * index)
            guard pfn <= highest else {
                throw error(
                    .pfnOutOfRange,
                    "p2m frames up to PFN 0x\(String(highest, radix: 16)), found 0x\(String(pfn, radix: 16))",
                    at: pieceStart + UInt64(8 + 8 * index)
                )
            }
            if p2mFrames.count < kept { p2mFrames.append(pfn, limit: Int(kept)) }
        }
        rules.maxPFN = highest
    }

    private func checkList(_ body: UnsafeRawBufferPointer, entry: Int) throws(StreamError) {
        guard body.count > 0, body.count % entry == 0 else {
            throw error(.badLength, "one or more entries of \(entry) bytes, found \(current.length) bytes")
        }
    }

    // MARK: State

    private mutating func checkTSC(_ body: UnsafeRawBufferPointer) throws(StreamError) {
        try requireLength(TSCInfo.size)
        guard let base = body.baseAddress else { return }
        let highestMode: UInt32 = imageVersion == 2 ? 3 : 2
        guard base.u32(0) <= highestMode || !strict else {
            throw error(.badField, "TSC mode 0 to \(highestMode), found \(base.u32(0))")
        }
        guard base.u32(20) == 0 || !strict else {
            throw error(.reservedBits, "reserved bytes 0", at: pieceStart + 20)
        }
        note(.tsc)
    }

    private mutating func checkHVMContext(_ body: UnsafeRawBufferPointer) throws(StreamError) {
        guard body.count > 0 else { throw error(.badLength, "a context that is not empty") }
        guard !strict || HVMContextWalker.isWellFormed(body) else {
            throw error(.badField, "entries from HEADER to END that fill the body")
        }
        note(.context)
    }

    private mutating func checkHVMParams(_ body: UnsafeRawBufferPointer) throws(StreamError) {
        guard let base = body.baseAddress, body.count >= HVMParam.listHeaderSize else {
            throw error(.badLength, "at least \(HVMParam.listHeaderSize) bytes, found \(current.length)")
        }
        let count = UInt64(base.u32(0))
        let needed = UInt64(HVMParam.listHeaderSize) + count * UInt64(HVMParam.size)
        guard UInt64(body.count) == needed else {
            throw error(.badLength, "\(needed) bytes for \(count) parameters, found \(current.length)")
        }
        note(.params)
        guard strict else { return }
        guard base.u32(4) == 0 else { throw error(.reservedBits, "reserved bytes 0", at: pieceStart + 4) }
        for number in 0..<Int(count) {
            let offset = HVMParam.listHeaderSize + number * HVMParam.size
            let index = base.u64(offset)
            guard index < 64 else {
                throw error(
                    .badField,
                    "a parameter that Xen has, found \(index)",
                    at: pieceStart + UInt64(offset)
                )
            }
            guard rules.paramsSeen & 1 << index == 0 else {
                throw error(
                    .duplicateRecord,
                    "parameter \(index) once in a checkpoint",
                    at: pieceStart + UInt64(offset)
                )
            }
            rules.paramsSeen |= 1 << index
        }
    }

    private mutating func checkVcpu(
        _ type: LibxcRecordType,
        _ body: UnsafeRawBufferPointer
    ) throws(StreamError) {
        guard let base = body.baseAddress, body.count >= VcpuRecordHeader.size, let info = rules.pvInfo else {
            throw error(.badLength, "at least \(VcpuRecordHeader.size) bytes, found \(current.length)")
        }
        let vcpu = base.u32(0)
        guard vcpu < options.budgets.vcpus else {
            throw error(.badField, "a vcpu below \(options.budgets.vcpus), found \(vcpu)")
        }
        guard base.u32(4) == 0 || !strict else {
            throw error(.reservedBits, "reserved bytes 0", at: pieceStart + 4)
        }
        let length = body.count - VcpuRecordHeader.size
        if length == 0, type != .x86PVVcpuBasic || !strict { return }
        try checkVcpuLength(type, length, info)
        if type == .x86PVVcpuMSRs, strict {
            for offset in stride(
                from: VcpuRecordHeader.size,
                to: body.count,
                by: VcpuRecordHeader.msrEntrySize
            )
            where base.u32(offset + 4) != 0 {
                throw error(.reservedBits, "reserved bytes 0", at: pieceStart + UInt64(offset + 4))
            }
        }
        if type == .x86PVVcpuExtended, strict { try checkExtended(body) }
        let isFirst = mark(vcpu: Int(vcpu), type)
        guard isFirst || !strict else {
            throw error(.duplicateRecord, "one \(type.name) of vcpu \(vcpu) in a checkpoint")
        }
        guard type == .x86PVVcpuBasic else { return }
        if isFirst { try collectFrames(vcpu: Int(vcpu), base + VcpuRecordHeader.size, info) }
        if vcpu == 0 { note(.vcpu0) }
    }

    /// The blob of X86_PV_VCPU_EXTENDED tells its own size, except where a legacy stream was converted.
    private func checkExtended(_ body: UnsafeRawBufferPointer) throws(StreamError) {
        let offset = VcpuRecordHeader.size + VcpuRecordHeader.extendedSizeOffset
        guard let base = body.baseAddress, body.count >= offset + 4, domain?.xenMajor != 0 else { return }
        let told = Int(base.u32(offset))
        guard told == 0 || told == body.count - VcpuRecordHeader.size else {
            throw error(
                .badLength,
                "\(told) bytes after the vcpu's number as the blob tells, found "
                    + "\(body.count - VcpuRecordHeader.size)"
            )
        }
    }

    private func checkVcpuLength(_ type: LibxcRecordType, _ length: Int, _ info: PVInfo) throws(StreamError) {
        let isRight: Bool
        let wanted: String
        switch type {
        case .x86PVVcpuBasic:
            let size = PVLayout.VcpuContext.of(info).size
            isRight = length == size
            wanted = "\(size) bytes of registers"
        case .x86PVVcpuExtended:
            isRight = length <= VcpuRecordHeader.maximumExtendedBlob
            wanted = "at most \(VcpuRecordHeader.maximumExtendedBlob) bytes"
        case .x86PVVcpuXsave:
            isRight = length >= VcpuRecordHeader.minimumXsaveBlob
            wanted = "at least \(VcpuRecordHeader.minimumXsaveBlob) bytes"
        default:
            isRight = length % VcpuRecordHeader.msrEntrySize == 0
            wanted = "whole entries of \(VcpuRecordHeader.msrEntrySize) bytes"
        }
        guard isRight else { throw error(.badLength, "\(wanted) after the vcpu's number, found \(length)") }
    }
}
