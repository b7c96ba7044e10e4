import Glibc
import XenStream

@testable import Checkpoint

/// The three pieces of memory of an image, from the plain allocator; `copy` is what a guardian would hold if the
/// daemon died now.
final class ImageMemory {
    let layout: ImageLayout
    let meta: UnsafeMutableRawBufferPointer
    let memory: UnsafeMutableRawBufferPointer
    let epochBuffer: UnsafeMutableRawBufferPointer

    init(pageCount: Int, epochBuffer: Int) {
        layout = ImageLayout(pageCount: pageCount)
        meta = ImageMemory.zeroed(layout.metaSize)
        memory = ImageMemory.zeroed(layout.memorySize)
        self.epochBuffer = ImageMemory.zeroed(epochBuffer)
    }

    /// Large enough that the allocator maps it: what is not touched costs nothing.
    private static func zeroed(_ count: Int) -> UnsafeMutableRawBufferPointer {
        guard let base = calloc(count, 1) else { fatalError("no memory for a test") }
        return UnsafeMutableRawBufferPointer(start: base, count: count)
    }

    deinit { for piece in [meta, memory, epochBuffer] { free(piece.baseAddress) } }

    /// A copy of everything that a small guest uses.
    func copy() -> ImageMemory {
        let copy = ImageMemory(pageCount: layout.pageCount, epochBuffer: epochBuffer.count)
        for part in [0..<ImageLayout.header + 65_536, range(layout.state), range(layout.emulator)] {
            copy.meta[part].copyBytes(from: meta[part])
        }
        copy.meta[layout.types...].copyBytes(from: meta[layout.types...])
        copy.memory.copyMemory(from: UnsafeRawBufferPointer(memory))
        copy.epochBuffer.copyMemory(from: UnsafeRawBufferPointer(epochBuffer))
        return copy
    }

    private func range(_ start: Int) -> Range<Int> { start..<start + 65_536 }

    func adopt() throws -> StandbyImage {
        try StandbyImage(adopting: meta, memory: memory, epochBuffer: epochBuffer, owner: self)
    }
}

/// What an image holds, to compare.
struct ImageContents: Equatable {
    var epoch: UInt64?
    var types: [UInt8?]
    var memory: [UInt8]
    var holes: [Int]
    var state: [UInt8]
    var emulator: [UInt8]

    init(_ image: StandbyImage) {
        let pfns = 0..<image.layout.pageCount
        epoch = image.epoch
        types = pfns.map { image.type(of: $0)?.rawValue }
        memory = Array(image.memory)
        holes = pfns.filter { !image.holdsData($0) }
        state = Array(image.state)
        emulator = Array(image.emulator)
    }
}
