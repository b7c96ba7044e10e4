import Checkpoint
import XenStream

/// A stream as a primary sent it, taken apart: where each epoch's records begin, and what the guest is after each epoch.
struct RecordedStream {
    struct Epoch {
        /// Offsets of where it begins, of each of its records after that, and of its end; ascending.
        var boundaries: [Int]
        /// What an image of it has to be.
        var content: GuestContent
    }

    let bytes: [UInt8]
    /// Those that are whole in it, from the initial sync on.
    var epochs: [Epoch]

    /// Takes a stream apart that begins with its first byte, and may end anywhere.
    init(_ bytes: [UInt8]) throws {
        self.bytes = bytes
        var reader = StreamReader(
            options: ReaderOptions(start: .xl, strictness: .strict, lifecycle: .checkpointed)
        )
        var recorder = Recorder()
        try bytes.withUnsafeBytes { try reader.feed($0, to: &recorder) }
        epochs = recorder.epochs
    }
}

/// All of a guest at the end of an epoch.
struct GuestContent: Equatable {
    var memory = MemoryDigest()
    /// Its state records, and those of its device model, each back to back.
    var state: [UInt8] = [], devices: [UInt8] = []

    init() {}

    /// What an image holds. Nothing is applied to it meanwhile.
    init(of image: StandbyImage) throws {
        memory = try MemoryDigest(of: image)
        state = Array(image.state)
        devices = Array(image.emulator)
    }
}

/// Keeps a guest's pages as the stream gives them, without any image.
private struct Recorder: StreamHandler {
    private(set) var epochs: [RecordedStream.Epoch] = []
    private var boundaries = [0]
    private var end = 0
    private var pages: [UInt64: [UInt8]] = [:]
    private var content = GuestContent()

    mutating func recordBegin(_ record: RecordInfo) {
        let offset = Int(record.offset)
        if boundaries.last != offset { boundaries.append(offset) }
        end = offset + StreamWriter.recordLength(body: Int(record.length))
    }

    mutating func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64) {
        pages[entry.pfn] = content.map { Array($0) }
    }

    mutating func record(_ record: RecordInfo, body: UnsafeRawBufferPointer) {
        // What comes before the first page is what a stream begins with, and no state.
        guard !pages.isEmpty, record.libxcType != .checkpoint, record.libxlType != .checkpointEnd else {
            return
        }
        var bytes: [UInt8] = []
        for value in [record.type, record.length] {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        bytes.append(contentsOf: body)
        bytes.append(contentsOf: repeatElement(0, count: -body.count & 7))
        if record.layer == .libxl { content.devices += bytes } else { content.state += bytes }
    }

    mutating func checkpointEnd(epoch: UInt64) {
        for (pfn, page) in pages.sorted(by: { $0.key < $1.key }) {
            page.withUnsafeBytes { content.memory.add(Int(pfn), $0) }
        }
        epochs.append(RecordedStream.Epoch(boundaries: boundaries + [end], content: content))
        boundaries = [end]
        content = GuestContent()
    }
}
