import Foundation
import Testing
import XenStream

/// Images and streams that Xen's own tools wrote.
@Suite struct XenImageTests {
    struct Counts: StreamHandler {
        var data = 0
        var committed: UInt64 = 0
        var ended = false
        mutating func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64) {
            if content != nil { data += 1 }
        }
        mutating func checkpointEnd(epoch: UInt64) { committed = epoch + 1 }
        mutating func end() { ended = true }
    }

    @Test(arguments: XenImages.all)
    func isAccepted(_ name: String) throws {
        var reader = StreamReader(options: .init(start: .xl))
        var counts = Counts()
        try XenImages.unpack(name) { try reader.feed($0, to: &counts) }
        try reader.finish()
        #expect(counts.data > 1000)
        #expect(counts.ended == (counts.committed == 0))
    }

    @Test(arguments: XenImages.all.filter { $0.contains("remus") })
    func becomesAnImage(_ name: String) throws {
        var standby = StandbyModel()
        var reader = StreamReader()
        try XenImages.unpack(name) { try reader.feed($0, to: &standby) }
        let folder = try TemporaryFolder()
        let file = folder.url.appending(path: "synthesised.img")
        #expect(FileManager.default.createFile(atPath: file.path(), contents: nil))
        let handle = try FileHandle(forWritingTo: file)
        var again = StreamReader(options: .init(start: .xl, lifecycle: .plain))
        var counts = Counts()
        try PlainImage.write(standby) { piece in
            try again.feed(piece, to: &counts)
            try handle.write(contentsOf: Data(piece))
        }
        try again.finish()
        try handle.close()
        #expect(counts.ended)
        let script = packageRoot.appending(path: "scripts/verify-export").path()
        let result = try #require(run(script, [file.path()]))
        if result.status == 69, !SynthesisTests.mustVerify {
            try Test.cancel("Xen's verifier cannot be had: \(result.output)")
        }
        #expect(result.status == 0, "\(result.output)")
    }
}
