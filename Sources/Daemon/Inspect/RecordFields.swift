import XenStream

/// One named fact about a record.
struct RecordField {
    enum Value {
        case number(UInt64)
        case hexadecimal(UInt64)
        case text(String)
    }

    let name: String
    let value: Value

    init(_ name: String, _ value: some BinaryInteger) {
        self.name = name
        self.value = .number(UInt64(truncatingIfNeeded: value))
    }

    init(_ name: String, hex value: some BinaryInteger) {
        self.name = name
        self.value = .hexadecimal(UInt64(truncatingIfNeeded: value))
    }

    init(_ name: String, text: String) {
        self.name = name
        value = .text(text)
    }

    /// As part of a line of text.
    var line: String {
        switch value {
        case .number(let number): "\(name) \(number)"
        case .hexadecimal(let number): "\(name) 0x" + String(number, radix: 16)
        case .text(let text): "\(name) " + SafeText.terminal(text)
        }
    }

    /// As a member of a JSON object; every number is decimal.
    var json: String {
        let key = SafeText.json(name.replacing(" ", with: "_"))
        switch value {
        case .number(let number), .hexadecimal(let number): return "\(key):\(number)"
        case .text(let text): return key + ":" + SafeText.json(text)
        }
    }
}

/// What is worth telling of a record's body. Bodies are checked already, or were tolerated: every access is bounded.
enum RecordFields {
    static func of(_ record: RecordInfo, _ body: UnsafeRawBufferPointer) -> [RecordField] {
        guard let base = body.baseAddress, body.count >= 8 else { return [] }
        if record.layer == .libxl {
            guard record.libxlType == .emulatorContext || record.libxlType == .emulatorXenstoreData else {
                return []
            }
            return [
                RecordField("emulator", base.u32(0)),
                RecordField("content", body.count - EmulatorHeader.size),
            ]
        }
        switch record.libxcType {
        case .x86PVInfo: return [RecordField("width", base.u8(0)), RecordField("levels", base.u8(1))]
        case .x86PVP2MFrames:
            return [
                RecordField("first pfn", hex: base.u32(0)), RecordField("last pfn", hex: base.u32(4)),
                RecordField("frames", (body.count - P2MFramesHeader.size) / 8),
            ]
        case .x86CPUIDPolicy: return [RecordField("leaves", body.count / CPUIDPolicyEntry.size)]
        case .x86MSRPolicy: return [RecordField("registers", body.count / MSRPolicyEntry.size)]
        case .x86TSCInfo: return body.count < TSCInfo.size ? [] : tsc(TSCInfo(at: base))
        case .hvmParams: return [RecordField("params", base.u32(0))]
        case .hvmContext: return hvmContext(body)
        case .x86PVVcpuBasic, .x86PVVcpuExtended, .x86PVVcpuXsave, .x86PVVcpuMSRs:
            return [
                RecordField("vcpu", base.u32(0)), RecordField("blob", body.count - VcpuRecordHeader.size),
            ]
        default: return []
        }
    }

    private static func tsc(_ info: TSCInfo) -> [RecordField] {
        [
            RecordField("mode", info.mode), RecordField("khz", info.khz), RecordField("ns", info.nanoseconds),
            RecordField("incarnation", info.incarnation),
        ]
    }

    private static func hvmContext(_ body: UnsafeRawBufferPointer) -> [RecordField] {
        var walker = HVMContextWalker(body)
        var entries = 0
        var vcpus = 0
        while let entry = walker.next() {
            entries += 1
            if entry.typecode == HVMContextEntry.cpuTypecode { vcpus += 1 }
        }
        return [RecordField("entries", entries), RecordField("vcpus", vcpus)]
    }
}
