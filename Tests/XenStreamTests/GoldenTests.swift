import Testing
import XenStream

/// The vectors that Xen's own verifier accepts: our writer makes exactly these bytes, our reader takes them.
@Suite struct GoldenTests {
    static let content = [UInt8](repeating: 0xA5, count: 4096)

    struct Vector: CustomTestStringConvertible, Sendable {
        let name: String
        let bytes: [UInt8]
        let write: @Sendable (inout StreamWriter) -> Void
        var testDescription: String { name }

        init(_ name: String, _ text: String, _ write: @escaping @Sendable (inout StreamWriter) -> Void) {
            self.name = name
            bytes = hex(text)
            self.write = write
        }
    }

    static let imageHeader = "ffffffffffffffff 58454e46 00000003 0000 000000000000"
    static let hvmHeader = "02000000 0c00 0000 04000000 11000000"
    static let pvHeader = "01000000 0c00 0000 04000000 11000000"
    static let tsc = "08000000 18000000 00000000 009f2400 00ca9a3b00000000 01000000 00000000"
    static let params = "0a000000 18000000 01000000 00000000 0100000000000000 fcef0f0000000000"
    static let xlHeader = """
        58656e20736176656420646f6d61696e2c20786c20666f726d61740a2000200d
        04030201 03000000 00000000 07000000 03000000 7b7d00
        """

    static let vectors: [Vector] = [
        Vector("image header", imageHeader) { $0.appendImageHeader() },
        Vector("HVM domain header", hvmHeader) {
            $0.appendDomainHeader(.init(kind: .hvm, xenMajor: 4, xenMinor: 17))
        },
        Vector("PV domain header", pvHeader) {
            $0.appendDomainHeader(.init(kind: .pv, xenMajor: 4, xenMinor: 17))
        },
        Vector("END", "00000000 00000000") { $0.appendRecord(LibxcRecordType.end) },
        Vector("STATIC_DATA_END", "10000000 00000000") { $0.appendRecord(LibxcRecordType.staticDataEnd) },
        Vector("CHECKPOINT", "0e000000 00000000") { $0.appendRecord(LibxcRecordType.checkpoint) },
        Vector("X86_PV_INFO 64", "02000000 08000000 08 04 000000000000") { $0.appendPVInfo(.pv64) },
        Vector("X86_PV_INFO 32", "02000000 08000000 04 03 000000000000") { $0.appendPVInfo(.pv32) },
        Vector(
            "P2M_FRAMES",
            "03000000 18000000 00000000 ff030000 0001000000000000 0101000000000000"
        ) { writer in
            ([0x100, 0x101] as [UInt64]).withUnsafeBufferPointer {
                writer.appendP2MFrames(.init(endPFN: 1023), frames: $0)
            }
        },
        Vector("X86_TSC_INFO", tsc) {
            $0.appendTSCInfo(.init(khz: 2_400_000, nanoseconds: 1_000_000_000, incarnation: 1))
        },
        Vector("HVM_PARAMS", params) { writer in
            [HVMParam(index: HVMParam.storePFN, value: 0xFEFFC)].withUnsafeBufferPointer {
                writer.appendHVMParams($0)
            }
        },
        Vector(
            "PAGE_DATA",
            "01000000 18100000 02000000 00000000 34120000000000c0 35120000000000f0"
                + String(repeating: "a5", count: 4096)
        ) { writer in
            let entries = [PageEntry(pfn: 0x1234, type: .l4Pinned), .init(pfn: 0x1235, type: .absent)]
            let place = entries.withUnsafeBufferPointer { writer.beginPageData($0) }
            for index in 0..<4096 { writer.memory[place + index] = 0xA5 }
        },
        Vector("libxl header", "4c6962786c466d74 00000002 00000000") { $0.appendLibxlHeader() },
        Vector("LIBXC_CONTEXT", "01000000 00000000") { $0.appendRecord(LibxlRecordType.libxcContext) },
        Vector("CHECKPOINT_END", "04000000 00000000") { $0.appendRecord(LibxlRecordType.checkpointEnd) },
        Vector("xl header", xlHeader) { writer in
            Array("{}".utf8).withUnsafeBytes { writer.appendXLHeader(json: $0) }
        },
    ]

    @Test(arguments: vectors)
    func writerMakesTheVector(_ vector: Vector) {
        let made = written(8192, vector.write)
        #expect(made == vector.bytes)
    }

    @Test func encodedEntriesMakeTheSameRecord() {
        let entries = [PageEntry(pfn: 0x1234, type: .l4Pinned), .init(pfn: 0x1235, type: .absent)]
        let vector = GoldenTests.vectors.first { $0.name == "PAGE_DATA" }
        let bytes = written { writer in
            let place = entries.map(\.encoded).withUnsafeBufferPointer { writer.beginPageData(encoded: $0) }
            for index in 0..<4096 { writer.memory[place + index] = 0xA5 }
        }
        #expect(bytes == vector?.bytes)
        #expect(bytes.count == StreamWriter.pageDataLength(entries: 2, withData: 1))
    }

    @Test func pagesAndTypesMakeTheSameRecord() {
        let (pfns, types): ([UInt64], [PageType]) = ([0x1234, 0x1235], [.l4Pinned, .absent])
        let vector = GoldenTests.vectors.first { $0.name == "PAGE_DATA" }
        let bytes = written { writer in
            let place = pfns.withUnsafeBufferPointer { pfns in
                types.withUnsafeBufferPointer { writer.beginPageData(pfns, types: $0) }
            }
            for index in 0..<4096 { writer.memory[place + index] = 0xA5 }
        }
        #expect(bytes == vector?.bytes)
    }

    @Test func readerTakesAnImageMadeOfVectors() {
        let page =
            "01000000 10100000 01000000 00000000 fcef0f0000000000" + String(repeating: "00", count: 4096)
        let context = written { writer in
            [UInt8](repeating: 7, count: 8).withUnsafeBytes {
                writer.appendHVMContext(typecode: 2, payload: $0)
            }
        }
        var stream = hex(GoldenTests.xlHeader) + hex("4c6962786c466d74 00000002 00000000 01000000 00000000")
        stream += hex(GoldenTests.imageHeader + GoldenTests.hvmHeader + "10000000 00000000" + page)
        stream +=
            hex(GoldenTests.tsc + GoldenTests.params) + context + hex("00000000 00000000 00000000 00000000")
        let reading = Reading(stream)
        #expect(reading.error == nil)
        #expect(reading.completeness == .whole)
        #expect(reading.recorder.config == Array("{}".utf8))
        #expect(reading.recorder.domain == DomainHeader(kind: .hvm, xenMajor: 4, xenMinor: 17))
        #expect(reading.recorder.pages.map(\.entry) == [PageEntry(pfn: 0xFEFFC)])
        #expect(reading.recorder.ended)
    }

    @Test func everyEncodableEntryComesBack() {
        for type in PageType.allCases {
            let entry = PageEntry(pfn: 0xF_1234_5678_9ABC, type: type)
            #expect(PageEntry(encoded: entry.encoded) == entry)
            #expect(type.carriesData == (type.tableLevel != nil || type == .normal))
        }
        for reserved in UInt64(5)...8 { #expect(PageEntry(encoded: reserved << 60) == nil) }
    }

    @Test func controlRegister3FoldsAndUnfolds() {
        for frame: UInt64 in [0, 1, 0xFFFFF, 0x10_0000, 0x12_3456, 0xFFF_FFFF] {
            for word in [4, 8] {
                #expect(PVLayout.frame(cr3: PVLayout.cr3(frame: frame, word: word), word: word) == frame)
            }
        }
        #expect(PVLayout.cr3(frame: 0x12_3456, word: 4) == 0x2345_6001)
    }

    @Test func writingBeyondTheMemoryStopsTheProgram() async {
        await #expect(processExitsWith: .failure) {
            _ = written(20) { $0.appendImageHeader() }
        }
        await #expect(processExitsWith: .failure) {
            _ = written { writer in _ = [PageEntry]().withUnsafeBufferPointer { writer.beginPageData($0) } }
        }
    }
}
