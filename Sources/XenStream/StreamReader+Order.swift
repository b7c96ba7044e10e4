/// Which record may come when: decided from its header, before any of its body is read.
extension StreamReader {
    mutating func startEpoch() {
        rules.startEpoch()
        frames.clear()
        vcpuMarks.clear()
    }

    mutating func beginRecord<H: StreamHandler>(
        type: UInt32,
        length: UInt32,
        _ handler: inout H
    ) throws(StreamError) {
        current = RecordInfo(
            layer: layer,
            type: type,
            length: length,
            index: recordCount,
            offset: pieceStart,
            epoch: epoch
        )
        recordCount += 1
        try checkBudgets()
        if layer == .libxl {
            try admitLibxl()
            piece = .body
        } else {
            piece = try admitLibxc()
        }
        if case .body = piece, length > options.budgets.bufferedLength {
            throw overBudget("a body to be kept whole", options.budgets.bufferedLength, length)
        }
        handler.recordBegin(current)
    }

    private mutating func checkBudgets() throws(StreamError) {
        let budgets = options.budgets
        let length = current.length
        if layer == .libxc {
            guard length <= RecordFraming.libxcMaximumLength else {
                throw error(.badLength, "a libxc record of at most 128 MiB, announced are \(length) bytes")
            }
            guard length <= budgets.libxcRecordLength else {
                throw overBudget("a libxc record", budgets.libxcRecordLength, length)
            }
        } else if length > budgets.libxlRecordLength {
            throw overBudget("a libxl record", budgets.libxlRecordLength, length)
        }
        rules.recordsThisEpoch += 1
        rules.bytesThisEpoch += UInt64(StreamWriter.recordLength(body: Int(length)))
        guard rules.recordsThisEpoch <= budgets.recordsPerEpoch else {
            throw error(.overBudget, "at most \(budgets.recordsPerEpoch) records in an epoch")
        }
        guard rules.bytesThisEpoch <= budgets.bytesPerEpoch else {
            throw error(.overBudget, "at most \(budgets.bytesPerEpoch) bytes in an epoch")
        }
    }

    private func overBudget(_ what: String, _ limit: UInt32, _ found: UInt32) -> StreamError {
        error(.overBudget, "\(what) of at most \(limit) bytes, announced are \(found)")
    }

    private func requireEmpty() throws(StreamError) {
        guard strict, current.length != 0 else { return }
        throw error(.badLength, "length 0, found \(current.length)")
    }

    // MARK: libxl

    private func admitLibxl() throws(StreamError) {
        guard let type = current.libxlType else {
            throw error(.unknownRecord, "a libxl record of known type; none may be ignored")
        }
        if type == .checkpointState {
            throw error(.forbiddenRecord, "no COLO records")
        }
        switch rules.libxlPlace {
        case .beforeContext:
            guard type == .libxcContext else { throw error(.outOfOrder, "LIBXC_CONTEXT first") }
        case .inCheckpoint:
            guard type != .libxcContext, type != .end else {
                throw error(.outOfOrder, "emulator records or CHECKPOINT_END after CHECKPOINT")
            }
        case .tail:
            guard type != .libxcContext, type != .checkpointEnd else {
                throw error(.outOfOrder, "emulator records or END after the libxc END")
            }
        }
        switch type {
        case .emulatorXenstoreData, .emulatorContext: try admitEmulator(type)
        case .checkpointEnd, .end:
            try requireEmpty()
            try requireEmulator(type)
        case .libxcContext, .checkpointState: try requireEmpty()
        }
    }

    private func admitEmulator(_ type: LibxlRecordType) throws(StreamError) {
        guard domain?.kind == .hvm else {
            throw error(.forbiddenRecord, "no emulator records for a PV guest")
        }
        guard current.length >= EmulatorHeader.size else {
            throw error(.badLength, "at least \(EmulatorHeader.size) bytes, found \(current.length)")
        }
        guard strict else { return }
        if type == .emulatorContext {
            guard !rules.hasEmulatorContext else { throw error(.duplicateRecord, "one EMULATOR_CONTEXT") }
        } else {
            guard !rules.hasXenstoreData else { throw error(.duplicateRecord, "one EMULATOR_XENSTORE_DATA") }
            guard !rules.hasEmulatorContext else {
                throw error(.outOfOrder, "EMULATOR_XENSTORE_DATA before EMULATOR_CONTEXT")
            }
        }
    }

    private func requireEmulator(_ type: LibxlRecordType) throws(StreamError) {
        guard strict else { return }
        guard rules.hasEmulatorContext || !rules.hasXenstoreData else {
            throw error(.missingRecord, "EMULATOR_CONTEXT after EMULATOR_XENSTORE_DATA")
        }
        guard type == .checkpointEnd, let carries = rules.carriesEmulator else { return }
        guard carries == rules.hasEmulatorContext else {
            throw error(
                .missingRecord,
                carries
                    ? "EMULATOR_CONTEXT in this checkpoint as in those before"
                    : "no EMULATOR_CONTEXT, as in the checkpoints before"
            )
        }
    }

    // MARK: libxc

    private mutating func admitLibxc() throws(StreamError) -> Piece {
        guard let type = current.libxcType else { return try admitUnknown() }
        try checkGuestKind(type)
        switch type {
        case .toolstack: throw error(.forbiddenRecord, "no TOOLSTACK record; no reader knows it any more")
        case .checkpointDirtyPFNList: throw error(.forbiddenRecord, "no COLO records")
        case .x86PVInfo, .x86CPUIDPolicy, .x86MSRPolicy, .staticDataEnd: try admitStatic(type)
        case .x86PVP2MFrames: try admitP2MFrames()
        case .pageData:
            try admitPageData()
            return .pageDataHead
        case .verify: try admitVerify()
        case .checkpoint: try admitCheckpoint()
        case .end: try admitEnd()
        default: try admitState(type)
        }
        return .body
    }

    private func admitUnknown() throws(StreamError) -> Piece {
        guard current.type & LibxcRecordType.optionalBit != 0 else {
            throw error(.unknownRecord, "a known record type; this one is mandatory")
        }
        guard epoch == 0 || !strict else {
            throw error(
                .unknownRecord,
                "no optional record after the first checkpoint: Xen's reader fails on it"
            )
        }
        return .ignoredBody(remaining: Int(current.length))
    }

    private func checkGuestKind(_ type: LibxcRecordType) throws(StreamError) {
        switch type {
        case .x86PVInfo, .x86PVP2MFrames, .sharedInfo, .x86PVVcpuBasic, .x86PVVcpuExtended, .x86PVVcpuXsave,
            .x86PVVcpuMSRs:
            guard domain?.kind == .pv else { throw error(.forbiddenRecord, "no PV records for an HVM guest") }
        case .hvmContext, .hvmParams:
            guard domain?.kind == .hvm else { throw error(.forbiddenRecord, "no HVM records for a PV guest") }
        default: break
        }
    }

    private func admitStatic(_ type: LibxcRecordType) throws(StreamError) {
        let isVersion3 = type != .x86PVInfo
        if strict, isVersion3, imageVersion == 2 {
            throw error(.forbiddenRecord, "no record of version 3 in a stream of version 2")
        }
        if type == .staticDataEnd {
            guard !rules.staticDataEnd else { throw error(.duplicateRecord, "one STATIC_DATA_END") }
            if strict, domain?.kind == .pv, rules.pvInfo == nil {
                throw error(.outOfOrder, "X86_PV_INFO before STATIC_DATA_END")
            }
            try requireEmpty()
            return
        }
        if strict, rules.staticDataEnd {
            throw error(.outOfOrder, "static data before STATIC_DATA_END")
        }
        let isAgain =
            switch type {
            case .x86PVInfo: rules.pvInfo != nil
            case .x86CPUIDPolicy: strict && rules.hasCPUIDPolicy
            default: strict && rules.hasMSRPolicy
            }
        guard !isAgain else { throw error(.duplicateRecord, "one \(type.name)") }
    }

    /// STATIC_DATA_END must have been seen; a version 2 stream has none and it is inferred.
    private mutating func requireStaticDataEnd() throws(StreamError) {
        guard !rules.staticDataEnd else { return }
        guard imageVersion == 2 else {
            throw error(.outOfOrder, "STATIC_DATA_END before memory and state")
        }
        rules.staticDataEnd = true
    }

    private mutating func admitP2MFrames() throws(StreamError) {
        try requireStaticDataEnd()
        guard rules.pvInfo != nil else {
            throw error(.outOfOrder, "X86_PV_INFO before X86_PV_P2M_FRAMES")
        }
        guard strict else { return }
        guard rules.maxPFN == nil else { throw error(.duplicateRecord, "one X86_PV_P2M_FRAMES") }
        guard rules.memory == .none else {
            throw error(.outOfOrder, "X86_PV_P2M_FRAMES before PAGE_DATA")
        }
    }

    /// Memory may come: static data is complete, and a PV guest's highest PFN is known.
    mutating func requireMemoryAllowed() throws(StreamError) {
        try requireStaticDataEnd()
        guard domain?.kind != .pv || rules.maxPFN != nil else {
            throw error(.outOfOrder, "X86_PV_P2M_FRAMES before PAGE_DATA")
        }
    }

    private mutating func admitPageData() throws(StreamError) {
        try requireMemoryAllowed()
        if strict, rules.present.contains(.params) {
            throw error(.outOfOrder, "PAGE_DATA before HVM_PARAMS, which clears special pages")
        }
        guard current.length >= 16 else {
            throw error(.badLength, "at least 16 bytes: a count and one entry, found \(current.length)")
        }
        if rules.memory == .none { rules.memory = .seen }
    }

    private func admitVerify() throws(StreamError) {
        guard epoch == 0, options.lifecycle != .checkpointed else {
            throw error(
                .forbiddenRecord,
                "no VERIFY in a checkpointed stream: it would turn memory updates off"
            )
        }
        try requireEmpty()
        guard strict else { return }
        guard rules.memory != .none else { throw error(.outOfOrder, "PAGE_DATA before VERIFY") }
        guard rules.memory == .seen else { throw error(.duplicateRecord, "one VERIFY") }
    }

    private func admitState(_ type: LibxcRecordType) throws(StreamError) {
        if strict, imageVersion == 3, !rules.staticDataEnd {
            throw error(.outOfOrder, "STATIC_DATA_END before memory and state")
        }
        if domain?.kind == .pv, type != .x86TSCInfo, rules.pvInfo == nil {
            throw error(.outOfOrder, "X86_PV_INFO before \(type.name)")
        }
        guard strict else { return }
        switch type {
        case .x86TSCInfo where rules.present.contains(.tsc),
            .sharedInfo where rules.present.contains(.sharedInfo),
            .hvmContext where rules.present.contains(.context):
            throw error(.duplicateRecord, "one \(type.name) in a checkpoint")
        case .hvmParams where rules.memory == .none:
            throw error(.outOfOrder, "PAGE_DATA before HVM_PARAMS, which clears special pages")
        default: break
        }
    }

    private func admitCheckpoint() throws(StreamError) {
        guard options.lifecycle != .plain else {
            throw error(.forbiddenRecord, "no CHECKPOINT in a plain stream")
        }
        guard rules.memory != .verifying else {
            throw error(.forbiddenRecord, "no CHECKPOINT after VERIFY: it turned memory updates off")
        }
        try requireEmpty()
        try requireState()
    }

    private func admitEnd() throws(StreamError) {
        try requireEmpty()
        if epoch > 0 {
            guard rules.recordsThisEpoch == 1 else {
                throw error(
                    .outOfOrder,
                    "END right after a checkpoint: Xen's reader drops what was sent since the last one"
                )
            }
            return
        }
        guard options.lifecycle != .checkpointed else {
            throw error(.outOfOrder, "a CHECKPOINT before END in a checkpointed stream")
        }
        try requireState()
    }
}
