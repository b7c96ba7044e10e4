import Checkpoint
import Glibc
import SystemSupport
import Testing

@testable import EmbeddedHost

/// The comparing tracker against a model, on a memory file of its own.
@Suite(.timeLimit(.minutes(1)))
struct CompareTrackerTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func findsExactlyWhatChanged(_ seed: UInt64) throws {
        let pages = 2048
        let file = try Memfd.create(name: "compared", size: pages * 4096)
        let memory = try Mapping.shared(file, count: pages * 4096)
        let view = try Mapping.shared(try file.reopenedReadOnly(), count: memory.count, writable: false)
        let tracker = try CompareTracker(name: "g", memory: view, file: file)
        var random = Seeded(seed)
        for _ in 0..<200 { memory.bytes[Int.random(in: 0..<memory.count, using: &random)] = 7 }
        let populated = try Memfd.populatedBytes(of: file)
        try tracker.start()
        var bitmap = PageBitmap(pageCount: pages)
        for round in 0..<60 {
            if round % 20 == 19 { try tracker.start() }
            var model: Set<Int> = []
            for _ in 0..<Int.random(in: 0...40, using: &random) {
                let offset = Int.random(in: 0..<memory.count / 4, using: &random)
                let old = memory.bytes[offset]
                memory.bytes[offset] = old &+ UInt8.random(in: 1...3, using: &random)
                model.insert(offset / 4096)
            }
            bitmap.removeAll()
            try tracker.collect(into: &bitmap)
            // A page may have been changed back by chance: then it is no change to anybody.
            #expect(bitmap.count <= model.count)
            for pfn in 0..<pages where bitmap.contains(pfn) { #expect(model.contains(pfn)) }
            #expect(bitmap.count >= model.count - 1, "round \(round)")
        }
        #expect(try Memfd.populatedBytes(of: file) <= populated + memory.count / 4, "holes stay holes")
    }

    /// The guest changes a page after the comparison, the page is copied so, and changes back: the other side must
    /// still be told.
    @Test func aPageThatWasCopiedInBetweenIsNotForgotten() throws {
        let file = try Memfd.create(name: "compared", size: 16 * 4096)
        let memory = try Mapping.shared(file, count: 16 * 4096)
        let tracker = try CompareTracker(name: "g", memory: memory, file: file)
        memory.bytes[0] = 1
        try tracker.start()
        memory.bytes[0] = 2
        tracker.copied(0, memory.base)
        memory.bytes[0] = 1
        var bitmap = PageBitmap(pageCount: 16)
        try tracker.collect(into: &bitmap)
        #expect(bitmap.contains(0) && bitmap.count == 1)
    }
}
