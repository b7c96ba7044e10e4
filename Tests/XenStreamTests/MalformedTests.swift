import Testing
import XenStream

/// Single pieces that are wrong in themselves, and what strict and lenient reading make of them.
@Suite struct MalformedTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        let bytes: [UInt8]
        let strict: StreamError.Kind?
        let lenient: StreamError.Kind?
        var testDescription: String { name }

        init(_ name: String, _ bytes: [UInt8], strict: StreamError.Kind?, lenient: StreamError.Kind?) {
            self.name = name
            self.bytes = bytes
            self.strict = strict
            self.lenient = lenient
        }

        init(_ name: String, _ bytes: [UInt8], _ kind: StreamError.Kind) {
            self.init(name, bytes, strict: kind, lenient: kind)
        }
    }

    /// `bytes` with some of them replaced.
    static func patched(_ bytes: [UInt8], _ offset: Int, _ values: UInt8...) -> [UInt8] {
        var copy = bytes
        copy.replaceSubrange(offset..<offset + values.count, with: values)
        return copy
    }

    static let image = SampleStream(.hvm, pages: 16).bytes()
    static let libxl = SampleStream(.hvm, pages: 16, outermost: .libxl).bytes()
    static let libxc = SampleStream(.hvm, pages: 16, outermost: .libxc).bytes()

    /// A stream whose first piece of a type is replaced.
    static func replacing(
        _ type: LibxcRecordType,
        _ guest: SampleStream.Guest = .hvm,
        _ change: ([UInt8]) -> [UInt8]
    ) -> [UInt8] {
        var parts = OrderTests.Parts(guest)
        let index = parts.index(type)
        parts.pieces[index] = change(parts.pieces[index])
        return Array(parts.pieces.joined())
    }

    static func patching(
        _ type: LibxcRecordType,
        _ guest: SampleStream.Guest,
        _ offset: Int,
        _ values: UInt8...
    ) -> [UInt8] {
        patching(type, guest, offset, values)
    }

    static func patching(_ type: LibxcRecordType, _ offset: Int, _ values: UInt8...) -> [UInt8] {
        patching(type, .hvm, offset, values)
    }

    static func patching(
        _ type: LibxcRecordType,
        _ guest: SampleStream.Guest,
        _ offset: Int,
        _ values: [UInt8]
    ) -> [UInt8] {
        replacing(type, guest) { piece in
            var copy = piece
            copy.replaceSubrange(offset..<offset + values.count, with: values)
            return copy
        }
    }

    static func body(_ type: LibxcRecordType, _ guest: SampleStream.Guest, _ body: [UInt8]) -> [UInt8] {
        replacing(type, guest) { _ in record(type, body) }
    }

    static func body(_ type: LibxcRecordType, _ bytes: [UInt8]) -> [UInt8] { body(type, .hvm, bytes) }

    static func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

    static let headers: [Case] = [
        Case("nothing", [], .empty),
        Case("three bytes of text", Array("abc".utf8), .unrecognised),
        Case("text", Array("hello, this is no image".utf8), .unrecognised),
        Case("zeros", zeros(4096), .unrecognised),
        Case("three bytes of a marker", [0xFF, 0xFF, 0xFF], .truncated),
        Case("xend's image", Array("LinuxGuestRecord".utf8) + zeros(64), .legacy),
        Case("legacy of a 64-bit sender", [0, 0x60, 0, 0, 0, 0, 0, 0] + zeros(64), .legacy),
        Case("legacy of a 32-bit sender, PV", [0, 0x60, 0, 0, 255, 255, 255, 255] + zeros(64), .legacy),
        Case("legacy of a 32-bit sender, HVM", [0, 0x60, 0, 0, 0, 4, 0, 0] + zeros(64), .legacy),
        Case("xl: magic damaged by text mode", patched(image, 27, 13, 10), .badMagic),
        Case("xl: big endian", patched(image, 32, 1, 2, 3, 4), .unsupportedFeature),
        Case("xl: unknown mandatory flag", patched(image, 36, 7), .unsupportedFeature),
        Case("xl: legacy payload", patched(image, 36, 1), .legacy),
        Case("xl: old configuration", patched(image, 36, 2), strict: .unsupportedFeature, lenient: nil),
        Case("xl: optional flags", patched(image, 40, 1), strict: .reservedBits, lenient: nil),
        Case("xl: 4 GiB of optional data", patched(image, 44, 255, 255, 255, 255), .overBudget),
        Case("xl: configuration beyond the optional data", patched(image, 48, 0xFF), .badLength),
        Case(
            "xl: configuration without NUL",
            patched(image, 52 + jsonLength, 32),
            strict: .badField,
            lenient: nil
        ),
        Case("xl: configuration with NUL inside", patched(image, 60, 0), strict: .badField, lenient: nil),
        Case("libxl: magic", patched(libxl, 0, 0x4D), .unrecognised),
        Case("libxl: version", patched(libxl, 11, 3), .unsupportedVersion),
        Case("libxl: big endian", patched(libxl, 15, 1), .unsupportedFeature),
        Case("libxl: converted", patched(libxl, 15, 2), strict: nil, lenient: nil),
        Case("libxl: reserved option", patched(libxl, 15, 4), strict: .reservedBits, lenient: nil),
        Case("libxc: id", patched(libxc, 8, 0), .badMagic),
        Case("libxc: version 1", patched(libxc, 15, 1), .unsupportedVersion),
        Case("libxc: version 4", patched(libxc, 15, 4), .unsupportedVersion),
        Case(
            "libxc: version 2 with static data",
            patched(libxc, 15, 2),
            strict: .forbiddenRecord,
            lenient: nil
        ),
        Case("libxc: big endian", patched(libxc, 17, 1), .unsupportedFeature),
        Case("libxc: reserved option", patched(libxc, 17, 2), strict: .reservedBits, lenient: nil),
        Case("libxc: reserved bytes", patched(libxc, 23, 1), strict: .reservedBits, lenient: nil),
        Case("libxc: guest type 0", patched(libxc, 24, 0), .badField),
        Case("libxc: guest type 3", patched(libxc, 24, 3), .badField),
        Case("libxc: page shift", patched(libxc, 28, 13), .badField),
        Case("libxc: reserved in domain header", patched(libxc, 30, 1), strict: .reservedBits, lenient: nil),
    ]

    static let jsonLength = SampleStream(.hvm).json.utf8.count

    static let pages: [Case] = [
        Case("PAGE_DATA: no entry", patching(.pageData, 8, 0), .badField),
        Case("PAGE_DATA: reserved", patching(.pageData, 12, 1), strict: .reservedBits, lenient: nil),
        Case("PAGE_DATA: more entries than told", patching(.pageData, 8, 7), .badLength),
        Case("PAGE_DATA: fewer entries than told", patching(.pageData, 8, 9), .badLength),
        Case("PAGE_DATA: 4 G entries", patching(.pageData, 8, 255, 255, 255, 255), .badLength),
        Case("PAGE_DATA: 8 bytes", body(.pageData, zeros(8)), .badLength),
        Case("PAGE_DATA: type 5", patching(.pageData, 23, 0x50), .badPageType),
        Case("PAGE_DATA: type 8", patching(.pageData, 23, 0x80), .badPageType),
        Case(
            "PAGE_DATA: page table for HVM",
            patching(.pageData, 23, 0x10),
            strict: .badPageType,
            lenient: nil
        ),
        Case("PAGE_DATA: reserved bits", patching(.pageData, 23, 0x08), strict: .reservedBits, lenient: nil),
        Case("PAGE_DATA: data became hole", patching(.pageData, 23, 0xF0), .badLength),
        Case("PAGE_DATA: hole became data", patching(.pageData, 16 + 5 * 8 + 7, 0), .badLength),
        Case("PAGE_DATA: PFN beyond the budget", patching(.pageData, 22, 0x0F), .overBudget),
        Case("PAGE_DATA: PFN beyond a PV guest", patching(.pageData, .pv64, 17, 1), .pfnOutOfRange),
        Case(
            "PAGE_DATA: L4 in a 32-bit guest",
            patching(.pageData, .pv32, 16 + 16 + 7, 0xC0),
            strict: .badPageType,
            lenient: .wrongFrameType
        ),
    ]

    static let lengths: [Case] = [
        Case("a record of 4 GiB", patching(.x86TSCInfo, 4, 255, 255, 255, 255), .badLength),
        Case("a record over 128 MiB", patching(.x86TSCInfo, 4, 1, 0, 0, 8), .badLength),
        Case("STATIC_DATA_END with a body", body(.staticDataEnd, zeros(8)), strict: .badLength, lenient: nil),
        Case("END with a body", body(.end, zeros(8)), strict: .badLength, lenient: nil),
        Case("X86_PV_INFO: short", body(.x86PVInfo, .pv64, [8, 4, 0, 0]), .badLength),
        Case(
            "X86_PV_INFO: long",
            body(.x86PVInfo, .pv64, [8, 4] + zeros(14)),
            strict: .badLength,
            lenient: nil
        ),
        Case("X86_PV_INFO: width", body(.x86PVInfo, .pv64, [4, 4] + zeros(6)), .badField),
        Case(
            "X86_PV_INFO: reserved",
            body(.x86PVInfo, .pv64, [8, 4, 1] + zeros(5)),
            strict: .reservedBits,
            lenient: nil
        ),
        Case("P2M_FRAMES: length", body(.x86PVP2MFrames, .pv64, [0, 0, 0, 0, 15, 0, 0, 0]), .badLength),
        Case("P2M_FRAMES: backwards", patching(.x86PVP2MFrames, .pv64, 8, 99), .badField),
        Case(
            "P2M_FRAMES: from the middle",
            patching(.x86PVP2MFrames, .pv64, 8, 1),
            strict: .badField,
            lenient: nil
        ),
        Case("P2M_FRAMES: frame beyond the guest", patching(.x86PVP2MFrames, .pv64, 16, 200), .pfnOutOfRange),
        Case("P2M_FRAMES: frame of a hole", patching(.x86PVP2MFrames, .pv64, 16, 5), .wrongFrameType),
        Case("CPUID: empty", body(.x86CPUIDPolicy, []), .badLength),
        Case("CPUID: odd", body(.x86CPUIDPolicy, zeros(25)), .badLength),
        Case("MSR: empty", body(.x86MSRPolicy, []), .badLength),
        Case("MSR: odd", body(.x86MSRPolicy, zeros(24)), .badLength),
        Case("TSC: short", body(.x86TSCInfo, zeros(16)), .badLength),
        Case("TSC: mode", patching(.x86TSCInfo, 8, 9), strict: .badField, lenient: nil),
        Case("TSC: reserved", patching(.x86TSCInfo, 28, 1), strict: .reservedBits, lenient: nil),
        Case("SHARED_INFO: short", body(.sharedInfo, .pv64, zeros(4088)), .badLength),
        Case("HVM_PARAMS: count", patching(.hvmParams, 8, 3), .badLength),
        Case("HVM_PARAMS: 4 G", patching(.hvmParams, 8, 255, 255, 255, 255), .badLength),
        Case("HVM_PARAMS: short", body(.hvmParams, zeros(4)), .badLength),
        Case("HVM_PARAMS: reserved", patching(.hvmParams, 12, 1), strict: .reservedBits, lenient: nil),
        Case("HVM_PARAMS: index", patching(.hvmParams, 16, 64), strict: .badField, lenient: nil),
        Case(
            "HVM_PARAMS: twice the same",
            patching(.hvmParams, 32, 1),
            strict: .duplicateRecord,
            lenient: nil
        ),
        Case("HVM_PARAMS: none", body(.hvmParams, zeros(8)), strict: nil, lenient: nil),
        Case("HVM_CONTEXT: empty", body(.hvmContext, []), .badLength),
        Case("HVM_CONTEXT: no header", body(.hvmContext, zeros(64)), strict: .badField, lenient: nil),
        Case("HVM_CONTEXT: magic", patching(.hvmContext, 16, 0), strict: .badField, lenient: nil),
        Case(
            "HVM_CONTEXT: entry too long",
            patching(.hvmContext, 8 + 32 + 4, 0, 64),
            strict: .badField,
            lenient: nil
        ),
        Case(
            "padding",
            replacing(.staticDataEnd) { record(0x8000_0001, [1, 2, 3], padding: 1) + $0 },
            strict: .nonZeroPadding,
            lenient: nil
        ),
    ]

    static let vcpus: [Case] = [
        Case("vcpu: short", body(.x86PVVcpuBasic, .pv64, zeros(4)), .badLength),
        Case("vcpu: size of the other width", body(.x86PVVcpuBasic, .pv64, zeros(2808)), .badLength),
        Case("vcpu: number", patching(.x86PVVcpuBasic, .pv64, 10, 1), .badField),
        Case("vcpu: reserved", patching(.x86PVVcpuBasic, .pv64, 12, 1), strict: .reservedBits, lenient: nil),
        Case(
            "vcpu: no registers",
            body(.x86PVVcpuBasic, .pv64, zeros(8)),
            strict: .badLength,
            lenient: .missingRecord
        ),
        Case("vcpu: extended", body(.x86PVVcpuExtended, .pv64, zeros(144)), .badLength),
        Case(
            "vcpu: extended, one byte less",
            replacing(.x86PVVcpuExtended, .pv64) { $0.replacingLength(71) },
            strict: .badLength,
            lenient: nil
        ),
        Case("vcpu: extended empty", body(.x86PVVcpuExtended, .pv64, zeros(8)), strict: nil, lenient: nil),
        Case("vcpu: xsave", body(.x86PVVcpuXsave, .pv64, zeros(16)), .badLength),
        Case("vcpu: msrs", body(.x86PVVcpuMSRs, .pv64, zeros(17)), .badLength),
        Case(
            "vcpu: msr reserved",
            patching(.x86PVVcpuMSRs, .pv64, 20, 1),
            strict: .reservedBits,
            lenient: nil
        ),
        Case("start_info in a hole", patching(.x86PVVcpuBasic, .pv64, 16 + 616, 5), .wrongFrameType),
        Case("start_info in a page table", patching(.x86PVVcpuBasic, .pv32, 16 + 524, 2), .wrongFrameType),
        Case("start_info beyond the guest", patching(.x86PVVcpuBasic, .pv64, 16 + 616, 16), .pfnOutOfRange),
        Case("GDT in a page table", patching(.x86PVVcpuBasic, .pv64, 16 + 4832, 2), .wrongFrameType),
        Case("GDT too long", patching(.x86PVVcpuBasic, .pv64, 16 + 4960, 1, 0x1C), .badField),
        Case("cr3 no page table", patching(.x86PVVcpuBasic, .pv64, 16 + 5009, 0x10), .wrongFrameType),
        Case("cr1 no page table", patching(.x86PVVcpuBasic, .pv64, 16 + 4993, 0x10), .wrongFrameType),
        Case("cr3 no page table, 32 bit", patching(.x86PVVcpuBasic, .pv32, 16 + 2729, 0x10), .wrongFrameType),
        Case("cr3 beyond the guest", patching(.x86PVVcpuBasic, .pv64, 16 + 5011, 1), .pfnOutOfRange),
    ]

    static func tail(_ type: LibxlRecordType, _ body: [UInt8]) -> [UInt8] {
        let after = type == .emulatorXenstoreData ? OrderTests.emulator : []
        return OrderTests.tail(.hvm, record(type, body) + after, OrderTests.end)
    }

    static let id: [UInt8] = [2, 0, 0, 0, 0, 0, 0, 0]

    static let emulators: [Case] = [
        Case("emulator: short", tail(.emulatorContext, [2, 0, 0, 0]), .badLength),
        Case("emulator: id", tail(.emulatorContext, [3] + zeros(7) + [1]), strict: .badField, lenient: nil),
        Case(
            "emulator: index",
            tail(.emulatorContext, [2, 0, 0, 0, 1, 0, 0, 0, 1]),
            strict: .badField,
            lenient: nil
        ),
        Case("emulator: nothing", tail(.emulatorContext, id), strict: .badLength, lenient: nil),
        Case("emulator: 4 GiB", OrderTests.tail(.hvm, record(3, [], length: 0xFFFF_FFFF)), .overBudget),
        Case("xenstore: not terminated", tail(.emulatorXenstoreData, id + [65, 0, 66]), .badField),
        Case("xenstore: empty key", tail(.emulatorXenstoreData, id + [0, 66, 0]), .badField),
        Case("xenstore: absolute key", tail(.emulatorXenstoreData, id + [47, 65, 0, 66, 0]), .badField),
        Case("xenstore: no value", tail(.emulatorXenstoreData, id + [65, 0]), .badField),
        Case(
            "xenstore: empty value",
            tail(.emulatorXenstoreData, id + [65, 0, 0]),
            strict: nil,
            lenient: nil
        ),
        Case(
            "libxl END with a body",
            OrderTests.tail(.hvm, record(0, zeros(8))),
            strict: .badLength,
            lenient: nil
        ),
    ]

    @Test(arguments: headers + pages + lengths + vcpus + emulators)
    func isJudged(_ test: Case) {
        let strict = Reading(test.bytes)
        #expect(strict.kind == test.strict, "\(String(describing: strict.error))")
        let lenient = Reading(test.bytes, .lenient)
        #expect(lenient.kind == test.lenient, "\(String(describing: lenient.error))")
        #expect(Reading(test.bytes, next: { 3 }).error == strict.error)
        if let error = strict.error {
            #expect(error.offset <= UInt64(test.bytes.count))
            #expect(error.description.contains(error.kind.rawValue))
        }
    }

    @Test func versionTwoNeedsNoStaticDataEnd() {
        for guest in SampleStream.Guest.allCases {
            var parts = OrderTests.Parts(guest)
            for type in [LibxcRecordType.x86CPUIDPolicy, .x86MSRPolicy, .staticDataEnd] {
                parts.pieces.remove(at: parts.index(type))
            }
            parts.pieces[0][15] = 2
            #expect(Reading(Array(parts.pieces.joined())).error == nil)
            #expect(Reading(Array(parts.pieces.joined()), .lenient).error == nil)
        }
    }

    @Test func anErrorStays() {
        var reader = StreamReader()
        var recorder = Recorder()
        let bytes = MalformedTests.patched(MalformedTests.libxc, 24, 9)
        var errors: [StreamError] = []
        for part in [bytes, MalformedTests.libxc] {
            part.withUnsafeBytes { buffer in
                do throws(StreamError) { try reader.feed(buffer, to: &recorder) } catch {
                    errors.append(error)
                }
            }
        }
        #expect(errors.count == 2)
        #expect(errors.first == errors.last)
        #expect(reader.completeness == .truncated)
    }
}

extension [UInt8] {
    /// A record with another length in its header.
    func replacingLength(_ length: UInt8) -> [UInt8] {
        var copy = self
        copy[4] = length
        return copy
    }
}
