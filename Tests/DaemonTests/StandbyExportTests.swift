import CKernels
import Checkpoint
import Foundation
import Glibc
import SystemSupport
import Testing
import XenStream

@testable import Daemon

/// What a standby received, checkpoint by checkpoint, comes out as one plain image that Xen's own tools take.
@Suite struct StandbyExportTests {
    private static let guests: [SampleStream.Guest] = [.pv32, .pv64, .hvm]

    /// Takes every checkpoint of `sample` as an epoch, as a session would, and exports the last.
    private func export(_ sample: SampleStream) throws -> [UInt8] {
        let stored = try StoredImage.create(for: hello(sample))
        var assembler = try EpochAssembler(
            image: stored.image,
            budgets: ReaderBudgets(),
            memoryLimit: 1 << 30
        )
        for (epoch, bytes) in sample.epochs.enumerated() {
            let epoch = UInt64(epoch)
            var position = 0
            while position < bytes.count {
                let count = min(4097, bytes.count - position)
                try assembler.space(count).copyBytes(from: bytes[position..<position + count])
                try assembler.received(count, epoch: epoch)
                position += count
            }
            let end = EpochEnd(length: UInt64(bytes.count), checksum: ckernels_crc32c(0, bytes, bytes.count))
            let length = try assembler.finish(end, epoch: epoch)
            stored.image.seal(epoch, length: length, at: Instant(nanoseconds: epoch))
            if epoch > 0 { try stored.image.applySealed(epoch) {} }
        }
        var image: [UInt8] = []
        try PlainImage.write(try ImageExport(of: stored.image)) { image.append(contentsOf: $0) }
        return image
    }

    private func hello(_ sample: SampleStream) -> Hello {
        let isHVM = sample.guest == .hvm || sample.guest == .hvmWithEmulator
        return .sample(
            guest: "sample",
            uuid: .random(),
            kind: isHVM ? .hvm : .pv,
            pages: sample.pages,
            host: "test"
        )
    }

    @Test(arguments: SampleStream.Guest.allCases)
    func theExportIsOneWholePlainImage(_ guest: SampleStream.Guest) throws {
        let image = try export(SampleStream(guest, pages: 40, checkpoints: 4, seed: 5))
        var reader = StreamReader(options: ReaderOptions(start: .xl, lifecycle: .plain))
        var handler = Counter()
        try image.withUnsafeBytes { try reader.feed($0, to: &handler) }
        #expect(reader.completeness == .whole)
        #expect(handler.pages == 39)
    }

    private struct Counter: StreamHandler {
        var pages = 0
        mutating func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64) {
            pages += 1
        }
    }

    @Test func xensOwnVerifierTakesTheExports() throws {
        let directory = try TemporaryDirectory()
        var files: [String] = []
        for guest in Self.guests {
            let path = directory.file("\(guest).img")
            try SmallFile.replace(
                path,
                with: try export(SampleStream(guest, pages: 40, checkpoints: 4, seed: 6))
            )
            files.append(path)
        }
        let process = Process()
        process.executableURL =
            URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../scripts/verify-export").standardizedFileURL
        process.arguments = files
        try process.run()
        process.waitUntilExit()
        // 69: the verifier cannot be had; in CI it can.
        if process.terminationStatus == 69, ProcessInfo.processInfo.environment["CI"] == nil {
            try Test.cancel("Xen's verifier cannot be had")
        }
        #expect(process.terminationStatus == 0)
    }
}
