import Foundation
import Testing
import XenStream

@testable import Daemon

/// What `remusd inspect` shows of a stream, and what it makes of a bad one.
@Suite struct InspectTests {
    /// The parts of the JSON document that scripts rely on.
    struct Document: Decodable {
        struct Record: Decodable {
            let index: UInt64
            let offset: UInt64
            let layer: String
            let epoch: UInt64
            let type: UInt32
            let name: String
            let length: UInt32
            let types: [String: UInt64]?
        }
        struct Summary: Decodable {
            let result: String
            let layers: [String]
            let guest: String?
            let kind: String?
            let xen: String?
            let checkpoints: UInt64
            let records: UInt64
            let bytes: UInt64
            let bytes_read: UInt64
            let pages_with_data: UInt64
            let zero_pages: UInt64
            let types: [String: UInt64]
        }
        struct Failure: Decodable {
            let kind: String
            let offset: UInt64
            let layer: String
            let record_index: UInt64?
            let record_name: String?
            let epoch: UInt64
            let expected: String
        }
        let schema: String
        let records: [Record]
        let summary: Summary
        let error: Failure?
    }

    final class Sink {
        var bytes: [UInt8] = []
    }

    static func inspect(
        _ bytes: [UInt8],
        _ format: InspectionFormat = .text,
        summaryOnly: Bool = false,
        strictness: ReaderOptions.Strictness = .strict
    ) -> (text: String, error: StreamError?) {
        let sink = Sink()
        var inspection = Inspection(
            format: format,
            summaryOnly: summaryOnly,
            strictness: strictness,
            output: ListingOutput {
                sink.bytes.append(contentsOf: $0)
                return true
            }
        )
        _ = bytes.withUnsafeBytes { inspection.feed($0) }
        let error = inspection.finish()
        return (String(decoding: sink.bytes, as: UTF8.self), error)
    }

    static func document(_ bytes: [UInt8], summaryOnly: Bool = false) throws -> (Document, StreamError?) {
        let (text, error) = inspect(bytes, .json, summaryOnly: summaryOnly)
        return (try JSONDecoder().decode(Document.self, from: Data(text.utf8)), error)
    }

    @Test(arguments: SampleStream.Guest.allCases, [0, 3])
    func listsEveryRecord(_ guest: SampleStream.Guest, _ checkpoints: Int) throws {
        let sample = SampleStream(guest, checkpoints: checkpoints)
        let bytes = sample.bytes()
        let (document, error) = try InspectTests.document(bytes)
        #expect(error == nil)
        #expect(document.error == nil)
        #expect(document.schema == "remusd.inspect/1")
        #expect(document.summary.result == (checkpoints == 0 ? "whole" : "afterCheckpoint"))
        #expect(document.summary.layers == ["xl", "libxl", "libxc"])
        #expect(document.summary.guest == "sample")
        #expect(document.summary.xen == "4.17")
        #expect(document.summary.kind == (guest == .pv32 || guest == .pv64 ? "pv" : "hvm"))
        #expect(document.summary.checkpoints == UInt64(checkpoints))
        #expect(document.summary.bytes == UInt64(bytes.count))
        #expect(document.summary.bytes_read == UInt64(bytes.count))
        #expect(document.records.map(\.index) == (0..<document.summary.records).map { $0 })
        #expect(document.records.count == sample.pieces().count - 4)
        let pages = document.records.compactMap { $0.types?["NOTAB"] }.reduce(0, +)
        #expect(document.summary.types["NOTAB"] == pages)
        let (short, _) = try InspectTests.document(bytes, summaryOnly: true)
        #expect(short.records.isEmpty)
        #expect(short.summary.records == document.summary.records)
    }

    @Test func sumsUpWhatWasWholeOfACutStream() throws {
        let sample = SampleStream(.hvm, checkpoints: 3)
        let bytes = sample.bytes()
        let two = SampleStream(.hvm, checkpoints: 2).bytes()
        let (document, error) = try InspectTests.document(Array(bytes.dropLast(20)))
        #expect(error?.kind == .truncated)
        #expect(document.error?.kind == "truncated")
        #expect(document.error?.epoch == 2)
        #expect(document.summary.result == "truncated")
        #expect(document.summary.checkpoints == 2)
        #expect(document.summary.bytes == UInt64(two.count))
        #expect(document.summary.bytes_read == UInt64(bytes.count - 20))
        let text = InspectTests.inspect(Array(bytes.dropLast(20)), summaryOnly: true).text
        #expect(text.contains("2 whole"))
        #expect(text.contains("refused: truncated"))
    }

    @Test func listsAsText() {
        let text = InspectTests.inspect(SampleStream(.pv64).bytes()).text
        for part in ["X86_PV_P2M_FRAMES", "L4TAB|PIN 1", "guest sample", "well-formed and whole", "vcpu 1"] {
            #expect(text.contains(part), "\(part)")
        }
        #expect(!text.contains(" \n"))
    }

    @Test func escapesWhatCouldSteerATerminal() throws {
        #expect(SafeText.terminal("a\u{1B}[31m\u{202E}\nb") == "a\\u{1b}[31m\\u{202e}\\u{a}b")
        #expect(SafeText.json("\"\\\u{1}ü\u{E0001}") == "\"\\\"\\\\\\u0001ü\\udb40\\udc01\"")
        let pieces = SampleStream(.hvm).pieces()
        let name = #"{"c_info":{"name":"x\u001b[2Jy"}}"#
        let header = [UInt8](unsafeUninitializedCapacity: 256) { buffer, count in
            var writer = StreamWriter(UnsafeMutableRawBufferPointer(buffer))
            Array(name.utf8).withUnsafeBytes { writer.appendXLHeader(json: $0) }
            count = writer.count
        }
        let bytes = header + Array(pieces.dropFirst().joined())
        let text = InspectTests.inspect(bytes).text
        #expect(text.contains("x\\u{1b}[2Jy"))
        #expect(!text.unicodeScalars.contains("\u{1B}"))
        #expect(try InspectTests.document(bytes).0.summary.guest == "x\u{1B}[2Jy")
    }

    @Test func goesOnWhenNobodyReads() {
        final class Calls { var count = 0 }
        let calls = Calls()
        var inspection = Inspection(
            format: .text,
            summaryOnly: false,
            strictness: .strict,
            output: ListingOutput { _ in
                calls.count += 1
                return false
            }
        )
        let bytes = SampleStream(.hvm, checkpoints: 400).bytes() + [1]
        _ = bytes.withUnsafeBytes { inspection.feed($0) }
        #expect(inspection.finish()?.kind == .truncated)
        #expect(calls.count == 1)
    }
}
