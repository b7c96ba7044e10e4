import Testing
import XenStream

/// Every order that the format forbids is refused, with the right kind of error.
@Suite struct OrderTests {
    /// A stream taken apart into named pieces, to be put together wrongly.
    struct Parts {
        var pieces: [[UInt8]]

        init(
            _ guest: SampleStream.Guest,
            checkpoints: Int = 0,
            outermost: StreamLayer = .libxc
        ) {
            pieces = SampleStream(guest, pages: 16, checkpoints: checkpoints, outermost: outermost).pieces()
        }

        /// Index of the `nth` piece that starts with `type` (headers are told apart by their length).
        func index(_ type: LibxcRecordType, nth: Int = 0) -> Int {
            let start = Array(withUnsafeBytes(of: type.rawValue.littleEndian) { Array($0) })
            let matches = pieces.indices.filter { index in
                let piece = pieces[index]
                let isHeader = index < pieces.count - 1 && pieces[index] == headerPiece
                return piece.count % 8 == 0 && Array(piece.prefix(4)) == start && !isHeader
            }
            return matches[nth]
        }

        private var headerPiece: [UInt8]? {
            pieces.first { $0.count == DomainHeader.size && $0.dropFirst(4).first == 0x0C && $0[6] == 0 }
        }

        func without(_ type: LibxcRecordType, nth: Int = 0) -> [UInt8] {
            var copy = pieces
            copy.remove(at: index(type, nth: nth))
            return Array(copy.joined())
        }

        func with(_ extra: [UInt8], before type: LibxcRecordType, nth: Int = 0) -> [UInt8] {
            var copy = pieces
            copy.insert(extra, at: index(type, nth: nth))
            return Array(copy.joined())
        }

        func moved(_ type: LibxcRecordType, before other: LibxcRecordType) -> [UInt8] {
            var copy = self
            let piece = copy.pieces.remove(at: index(type))
            return copy.with(piece, before: other)
        }

        func doubled(_ type: LibxcRecordType, nth: Int = 0) -> [UInt8] {
            with(pieces[index(type, nth: nth)], before: type, nth: nth)
        }
    }

    struct Violation: CustomTestStringConvertible, Sendable {
        let name: String
        let bytes: [UInt8]
        let kind: StreamError.Kind
        /// Nil where lenient reading takes it.
        let lenientKind: StreamError.Kind?
        var options = ReaderOptions()
        var testDescription: String { name }
    }

    static func both(
        _ name: String,
        _ bytes: [UInt8],
        _ kind: StreamError.Kind,
        _ options: ReaderOptions = .init()
    ) -> Violation {
        Violation(name: name, bytes: bytes, kind: kind, lenientKind: kind, options: options)
    }

    static func strictOnly(_ name: String, _ bytes: [UInt8], _ kind: StreamError.Kind) -> Violation {
        Violation(name: name, bytes: bytes, kind: kind, lenientKind: nil)
    }

    static let hvm = Parts(.hvm)
    static let pv = Parts(.pv64)
    static let hvmCheckpoints = Parts(.hvm, checkpoints: 3)
    static let pvCheckpoints = Parts(.pv32, checkpoints: 3)

    static let violations: [Violation] =
        staticViolations + stateViolations + checkpointViolations + libxlViolations

    static let staticViolations: [Violation] = [
        both("HVM without STATIC_DATA_END", hvm.without(.staticDataEnd), .outOfOrder),
        both("PV without STATIC_DATA_END", pv.without(.staticDataEnd), .outOfOrder),
        both("two STATIC_DATA_END", hvm.doubled(.staticDataEnd), .duplicateRecord),
        both("PAGE_DATA before STATIC_DATA_END", hvm.moved(.staticDataEnd, before: .x86TSCInfo), .outOfOrder),
        strictOnly(
            "policy after STATIC_DATA_END",
            hvm.moved(.staticDataEnd, before: .x86MSRPolicy),
            .outOfOrder
        ),
        strictOnly("two CPUID policies", hvm.doubled(.x86CPUIDPolicy), .duplicateRecord),
        strictOnly("two MSR policies", hvm.doubled(.x86MSRPolicy), .duplicateRecord),
        both("two X86_PV_INFO", pv.doubled(.x86PVInfo), .duplicateRecord),
        both("P2M_FRAMES without X86_PV_INFO", pv.without(.x86PVInfo), .outOfOrder),
        strictOnly("X86_PV_INFO late", pv.moved(.x86PVInfo, before: .x86PVP2MFrames), .outOfOrder),
        both("PAGE_DATA without P2M_FRAMES", pv.without(.x86PVP2MFrames), .outOfOrder),
        strictOnly("two P2M_FRAMES", pv.doubled(.x86PVP2MFrames), .duplicateRecord),
        both(
            "P2M_FRAMES before STATIC_DATA_END",
            pv.moved(.x86PVP2MFrames, before: .staticDataEnd),
            .outOfOrder
        ),
        both(
            "PV record for HVM",
            hvm.with(record(.x86PVInfo, [8, 4, 0, 0, 0, 0, 0, 0]), before: .staticDataEnd),
            .forbiddenRecord
        ),
        both(
            "HVM record for PV",
            pv.with(record(.hvmParams, [UInt8](repeating: 0, count: 8)), before: .end),
            .forbiddenRecord
        ),
        both("TOOLSTACK", hvm.with(record(.toolstack), before: .end), .forbiddenRecord),
        both("COLO's pfn list", hvm.with(record(.checkpointDirtyPFNList), before: .end), .forbiddenRecord),
        both("unknown mandatory record", hvm.with(record(0x13), before: .end), .unknownRecord),
    ]

    static let stateViolations: [Violation] = [
        strictOnly(
            "state before STATIC_DATA_END",
            hvm.moved(.x86TSCInfo, before: .staticDataEnd),
            .outOfOrder
        ),
        both("SHARED_INFO before X86_PV_INFO", pv.moved(.sharedInfo, before: .x86PVInfo), .outOfOrder),
        strictOnly("HVM_PARAMS before memory", hvm.moved(.hvmParams, before: .pageData), .outOfOrder),
        strictOnly("two X86_TSC_INFO", hvm.doubled(.x86TSCInfo), .duplicateRecord),
        strictOnly("two HVM_CONTEXT", hvm.doubled(.hvmContext), .duplicateRecord),
        strictOnly("one parameter twice", hvm.doubled(.hvmParams), .duplicateRecord),
        strictOnly("two SHARED_INFO", pv.doubled(.sharedInfo), .duplicateRecord),
        strictOnly("one vcpu twice", pv.doubled(.x86PVVcpuBasic), .duplicateRecord),
        strictOnly("no X86_TSC_INFO", hvm.without(.x86TSCInfo), .missingRecord),
        strictOnly("no HVM_PARAMS", hvm.without(.hvmParams), .missingRecord),
        both("no HVM_CONTEXT", hvm.without(.hvmContext), .missingRecord),
        strictOnly("no SHARED_INFO", pv.without(.sharedInfo), .missingRecord),
        both("no vcpu 0", pv.without(.x86PVVcpuBasic), .missingRecord),
        strictOnly("vcpu 1 without registers", pv.without(.x86PVVcpuBasic, nth: 1), .missingRecord),
        both(
            "END at once",
            Array(hvm.pieces[..<2].joined()) + record(.staticDataEnd) + record(LibxcRecordType.end),
            .missingRecord
        ),
    ]

    static let checkpointViolations: [Violation] = [
        both(
            "CHECKPOINT in a plain stream",
            Array(hvmCheckpoints.pieces.joined()),
            .forbiddenRecord,
            .lifecycle(.plain)
        ),
        both("END before a CHECKPOINT", Array(hvm.pieces.joined()), .outOfOrder, .lifecycle(.checkpointed)),
        both(
            "VERIFY between checkpoints",
            hvmCheckpoints.with(record(.verify), before: .x86TSCInfo, nth: 1),
            .forbiddenRecord
        ),
        both(
            "CHECKPOINT after VERIFY",
            hvmCheckpoints.with(record(.verify), before: .x86TSCInfo),
            .forbiddenRecord
        ),
        both(
            "VERIFY where checkpoints are expected",
            hvm.with(record(.verify), before: .x86TSCInfo),
            .forbiddenRecord,
            .lifecycle(.checkpointed)
        ),
        strictOnly("VERIFY before memory", hvm.with(record(.verify), before: .pageData), .outOfOrder),
        strictOnly(
            "two VERIFY",
            hvm.with(record(.verify) + record(.verify), before: .x86TSCInfo),
            .duplicateRecord
        ),
        strictOnly(
            "second checkpoint without time",
            hvmCheckpoints.without(.x86TSCInfo, nth: 1),
            .missingRecord
        ),
        strictOnly(
            "second checkpoint without parameters",
            hvmCheckpoints.without(.hvmParams, nth: 1),
            .missingRecord
        ),
        strictOnly(
            "second checkpoint without registers",
            hvmCheckpoints.without(.hvmContext, nth: 1),
            .missingRecord
        ),
        strictOnly(
            "second checkpoint without SHARED_INFO",
            pvCheckpoints.without(.sharedInfo, nth: 1),
            .missingRecord
        ),
        strictOnly(
            "second checkpoint without vcpu 0",
            pvCheckpoints.without(.x86PVVcpuBasic, nth: 2),
            .missingRecord
        ),
        both(
            "END after records without CHECKPOINT",
            hvmCheckpoints.with(record(LibxcRecordType.end), before: .checkpoint, nth: 1),
            .outOfOrder
        ),
        strictOnly(
            "optional record after a checkpoint",
            hvmCheckpoints.with(record(0x8000_0001, [1, 2, 3]), before: .x86TSCInfo, nth: 1),
            .unknownRecord
        ),
        strictOnly(
            "static data after a checkpoint",
            hvmCheckpoints.with(hvm.pieces[hvm.index(.x86MSRPolicy)], before: .x86TSCInfo, nth: 1),
            .outOfOrder
        ),
    ]

    static let end = record(LibxlRecordType.end)
    static let context = record(LibxlRecordType.libxcContext)
    static let checkpointEnd = record(LibxlRecordType.checkpointEnd)
    static let emulator = record(LibxlRecordType.emulatorContext, [2, 0, 0, 0, 0, 0, 0, 0, 9])
    static let xenstore = record(
        LibxlRecordType.emulatorXenstoreData,
        [2, 0, 0, 0, 0, 0, 0, 0, 65, 0, 66, 0]
    )

    /// A plain libxl stream with another tail.
    static func tail(_ guest: SampleStream.Guest, _ tail: [UInt8]...) -> [UInt8] {
        Array(Parts(guest, outermost: .libxl).pieces.dropLast().joined()) + tail.joined()
    }

    /// A libxl stream of two checkpoints whose second has other libxl records.
    static func second(_ guest: SampleStream.Guest, _ records: [UInt8]...) -> [UInt8] {
        let pieces = Parts(guest, checkpoints: 2, outermost: .libxl).pieces
        let last = pieces.lastIndex { $0 == record(LibxcRecordType.checkpoint) } ?? 0
        return Array(pieces[...last].joined()) + records.joined()
    }

    static let libxlViolations: [Violation] = [
        both("no LIBXC_CONTEXT", written { $0.appendLibxlHeader() } + end, .outOfOrder),
        both("emulator records for PV", tail(.pv64, emulator, end), .forbiddenRecord),
        both("xenstore data for PV", tail(.pv64, xenstore, end), .forbiddenRecord),
        both("CHECKPOINT_END in a tail", tail(.hvm, checkpointEnd), .outOfOrder),
        both("LIBXC_CONTEXT in a tail", tail(.hvm, context), .outOfOrder),
        both(
            "COLO's state",
            tail(.hvm, record(LibxlRecordType.checkpointState, [0, 0, 0, 0])),
            .forbiddenRecord
        ),
        both("unknown libxl record", tail(.hvm, record(6)), .unknownRecord),
        both("unknown optional libxl record", tail(.hvm, record(0x8000_0000)), .unknownRecord),
        strictOnly("two EMULATOR_CONTEXT", tail(.hvm, emulator, emulator, end), .duplicateRecord),
        strictOnly(
            "two EMULATOR_XENSTORE_DATA",
            tail(.hvm, xenstore, xenstore, emulator, end),
            .duplicateRecord
        ),
        strictOnly("EMULATOR_XENSTORE_DATA late", tail(.hvm, emulator, xenstore, end), .outOfOrder),
        strictOnly("xenstore data alone", tail(.hvm, xenstore, end), .missingRecord),
        both("END in a checkpoint", second(.hvm, end), .outOfOrder),
        both("LIBXC_CONTEXT in a checkpoint", second(.hvm, context), .outOfOrder),
        strictOnly("a device model that vanishes", second(.hvmWithEmulator, checkpointEnd), .missingRecord),
        strictOnly("a device model that appears", second(.hvm, emulator, checkpointEnd), .missingRecord),
        strictOnly("bytes after END", tail(.hvm, end, [0]), .trailingData),
    ]

    @Test(arguments: violations)
    func isRefused(_ violation: Violation) {
        let reading = Reading(violation.bytes, violation.options)
        #expect(reading.kind == violation.kind, "\(String(describing: reading.error))")
        #expect(!reading.recorder.ended || violation.kind == .trailingData)
        var options = violation.options
        options.strictness = .lenient
        let lenient = Reading(violation.bytes, options)
        #expect(lenient.kind == violation.lenientKind, "\(String(describing: lenient.error))")
    }

    @Test func errorSaysWhereAndWhat() throws {
        let parts = OrderTests.hvmCheckpoints
        let place = parts.index(.x86TSCInfo, nth: 1)
        let bytes = parts.with(record(.verify), before: .x86TSCInfo, nth: 1)
        let error = try #require(Reading(bytes).error)
        #expect(error.offset == UInt64(parts.pieces[..<place].joined().count))
        #expect(error.layer == .libxc)
        #expect(error.recordIndex == UInt64(place - 2))
        #expect(error.recordType == LibxcRecordType.verify.rawValue)
        #expect(error.epoch == 1)
        #expect(error.description.contains("VERIFY"))
        #expect(error.description.contains("\(error.offset)"))
    }

    @Test func gracefulEndOfACheckpointedStreamIsTaken() {
        let bare = Array(OrderTests.hvmCheckpoints.pieces.joined()) + record(LibxcRecordType.end)
        #expect(Reading(bare).completeness == .whole)
        let inner = Array(Parts(.pv64, checkpoints: 2, outermost: .libxl).pieces.joined())
        let whole = Reading(inner + record(LibxcRecordType.end) + OrderTests.end)
        #expect(whole.error == nil)
        #expect(whole.completeness == .whole)
        #expect(whole.recorder.committed == [0, 1])
    }

    @Test func optionalRecordsMayComeBeforeACheckpoint() {
        for body in [[], [1], [UInt8](repeating: 9, count: 100_000)] as [[UInt8]] {
            let bytes = OrderTests.hvmCheckpoints.with(record(0x8000_0001, body), before: .x86TSCInfo)
            let reading = Reading(bytes, next: { 1000 })
            #expect(reading.error == nil)
            #expect(reading.recorder.records.contains { $0.info.type == 0x8000_0001 && $0.body.isEmpty })
        }
    }

    @Test func paramsAndContextComeInEitherOrder() {
        let bytes = OrderTests.hvm.moved(.hvmContext, before: .hvmParams)
        #expect(Reading(bytes).error == nil)
    }

    @Test func verifyIsTakenInAPlainStream() {
        let parts = OrderTests.hvm
        let memory = parts.pieces[parts.index(.pageData)]
        #expect(Reading(parts.with(record(.verify) + memory, before: .x86TSCInfo)).error == nil)
    }
}
