import Testing
import XenStream

/// Every budget is enforced, before anything is allocated for what exceeds it.
@Suite struct BudgetTests {
    static func options(_ change: (inout ReaderBudgets) -> Void) -> ReaderOptions {
        var options = ReaderOptions()
        change(&options.budgets)
        return options
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        let options: ReaderOptions
        var guest = SampleStream.Guest.hvmWithEmulator
        var kind = StreamError.Kind.overBudget
        var testDescription: String { name }
    }

    static let cases: [Case] = [
        Case(name: "libxc record", options: options { $0.libxcRecordLength = 1000 }),
        Case(name: "libxl record", options: options { $0.libxlRecordLength = 50 }),
        Case(name: "buffered body", options: options { $0.bufferedLength = 100 }),
        Case(name: "configuration", options: options { $0.configLength = 20 }),
        Case(name: "held entries", options: options { $0.heldPageEntries = 4 }),
        Case(name: "records per epoch", options: options { $0.recordsPerEpoch = 5 }),
        Case(name: "bytes per epoch", options: options { $0.bytesPerEpoch = 50_000 }),
        Case(name: "highest PFN", options: options { $0.highestPFN = 10 }),
        Case(name: "highest PFN, PV", options: options { $0.highestPFN = 10 }, guest: .pv64),
        Case(name: "vcpus", options: options { $0.vcpus = 1 }, guest: .pv32, kind: .badField),
    ]

    @Test(arguments: cases)
    func isEnforced(_ test: Case) {
        let bytes = SampleStream(test.guest, checkpoints: 2).bytes()
        #expect(Reading(bytes).error == nil)
        #expect(Reading(bytes, test.options).kind == test.kind)
    }

    @Test func budgetsStartAnewWithEachEpoch() {
        let one = SampleStream(.hvm, checkpoints: 1).pieces().count
        let bytes = SampleStream(.hvm, checkpoints: 20).bytes()
        #expect(Reading(bytes, BudgetTests.options { $0.recordsPerEpoch = UInt64(one) }).error == nil)
    }

    /// A length field may announce what it likes; memory is taken for bytes that came.
    @Test func announcedBytesCostNothing() {
        let start = OrderTests.Parts(.hvm).pieces[..<2].joined()
        let huge = RecordFraming.libxcMaximumLength
        for type in [LibxcRecordType.x86CPUIDPolicy.rawValue, 0x8000_0007] {
            let reading = Reading(Array(start) + record(type, [1, 2, 3, 4], length: Int(huge)))
            #expect(reading.kind == .truncated)
        }
    }

    @Test func aLongListOfHolesIsNotKept() {
        let count = 100_000
        let list = written(StreamWriter.pageDataLength(entries: count, withData: 0)) { writer in
            let entries = (0..<UInt64(count)).map { PageEntry(pfn: $0, type: .absent) }
            _ = entries.withUnsafeBufferPointer { writer.beginPageData($0) }
        }
        let bytes = OrderTests.hvm.with(list, before: .x86TSCInfo)
        let reading = Reading(bytes, BudgetTests.options { $0.heldPageEntries = 16 }, next: { 5000 })
        #expect(reading.error == nil)
        #expect(reading.recorder.pages.count == 16 + count)
    }

    @Test func typesBeyondTheBudgetAreNotJudged() {
        let bytes = MalformedTests.patching(.x86PVVcpuBasic, .pv64, 16 + 616, 5)
        #expect(Reading(bytes).kind == .wrongFrameType)
        #expect(Reading(bytes, BudgetTests.options { $0.pageTypeBytes = 0 }).error == nil)
    }
}
