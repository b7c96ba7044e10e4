import CKernels
import XenStream

/// Why an epoch is not acknowledged.
package enum EpochError: Error, Equatable, Sendable, CustomStringConvertible {
    case stream(StreamError)
    case image(ImageError)
    case encoding(EncodedFrameError)
    case wrongEpoch(got: UInt64, expected: UInt64)
    case wrongLength(got: UInt64, announced: UInt64)
    case wrongChecksum
    /// The bytes are a stream, but not exactly one checkpoint.
    case notOneCheckpoint
    case tooLong(limit: Int)
    case overMemoryCeiling(pages: Int)

    package var description: String {
        switch self {
        case .stream(let error): "malformed stream: \(error)"
        case .image(let error): "\(error)"
        case .encoding(let error): "malformed data: \(error)"
        case .wrongEpoch(let got, let expected): "epoch \(got) where \(expected) was expected"
        case .wrongLength(let got, let announced): "an epoch of \(got) bytes, announced were \(announced)"
        case .wrongChecksum: "an epoch's checksum does not match: it was damaged on the way"
        case .notOneCheckpoint: "an epoch that is not exactly one whole checkpoint"
        case .tooLong(let limit):
            "an epoch of more than \(limit) bytes, which is all that the standby's memory ceiling leaves for it"
        case .overMemoryCeiling(let pages):
            "the guest's memory grew past the standby's memory ceiling, at \(pages) pages"
        }
    }
}

/// Puts epochs together from bytes as they come and checks them: what `finish` accepts is whole.
///
/// Epoch 0 goes straight into a new image. Later epochs gather in the image's epoch buffer and touch nothing before
/// they are sealed. Allocates nothing in the steady state.
package struct EpochAssembler: ~Copyable {
    package let image: StandbyImage
    /// The epoch being received.
    package private(set) var epoch: UInt64
    private let budgets: ReaderBudgets
    private var reader: StreamReader
    private var handler: ImageHandler
    /// The most bytes an epoch may take: what the epoch buffer holds, and what the memory ceiling leaves.
    private var lengthLimit = 0
    private var length = 0
    private var checksum: UInt32 = 0
    /// Where epoch 0's bytes land before they are read.
    private let scratch: UnsafeMutableRawBufferPointer
    private var decoder = PageDecoder()
    /// Where encoded frames land before they are decoded; made with the first.
    private var encoded: UnsafeMutableRawBufferPointer?

    /// An assembler that begins at epoch 0 of a new image, or after the image's committed epoch.
    /// - Parameters:
    ///   - memoryLimit: bytes that image and epoch buffer may use together, by the standby's memory ceiling.
    package init(image: StandbyImage, budgets: ReaderBudgets, memoryLimit: UInt64) throws(EpochError) {
        self.image = image
        self.budgets = budgets
        handler = ImageHandler(image: image)
        reader = StreamReader(options: Self.options(budgets, image))
        scratch = .allocate(byteCount: Int(FrameHeader.dataLimit), alignment: 16)
        epoch = 0
        limitMemory(memoryLimit)
        if let committed = image.epoch { try rewind(after: committed) }
    }

    deinit {
        scratch.deallocate()
        encoded?.deallocate()
    }

    private static func options(_ budgets: ReaderBudgets, _ image: StandbyImage) -> ReaderOptions {
        var budgets = budgets
        budgets.highestPFN = UInt64(image.layout.pageCount - 1)
        budgets.configLength = min(budgets.configLength, UInt32(ImageLayout.prefixCapacity / 2))
        return ReaderOptions(start: .xl, strictness: .strict, lifecycle: .checkpointed, budgets: budgets)
    }

    /// Sets the bytes that image and epoch buffer may use together from now on.
    package mutating func limitMemory(_ bytes: UInt64) {
        let limit = Int(clamping: bytes)
        handler.pageLimit = limit / guestPageSize
        handler.hasRoomForAll = image.isWarm || handler.pageLimit >= image.layout.pageCount
        let pages = image.isWarm ? 0 : image.populatedPages
        lengthLimit = max(0, min(image.epochBuffer.count, limit - pages * guestPageSize))
    }

    /// Forgets an epoch that was not finished and stands after the committed one again.
    package mutating func rewind(after committed: UInt64) throws(EpochError) {
        reader = StreamReader(options: Self.options(budgets, image))
        var quiet = NullHandler()
        do throws(StreamError) {
            try reader.feed(image.prefix, to: &quiet)
            try reader.continueAfterCheckpoint(epochs: committed + 1)
        } catch {
            throw .stream(error)
        }
        begin(committed + 1)
    }

    private mutating func begin(_ epoch: UInt64) {
        self.epoch = epoch
        length = 0
        checksum = 0
        decoder.restart()
        handler.begin(epoch)
    }

    /// Memory for the next `count` bytes of the epoch, at most a data frame's.
    package func space(_ count: Int) throws(EpochError) -> UnsafeMutableRawBufferPointer {
        if epoch == 0 { return UnsafeMutableRawBufferPointer(rebasing: scratch[..<count]) }
        guard count <= lengthLimit - length else { throw .tooLong(limit: lengthLimit) }
        return UnsafeMutableRawBufferPointer(rebasing: image.epochBuffer[length..<length + count])
    }

    /// Takes the `count` bytes that were put into `space(count)`.
    package mutating func received(_ count: Int, epoch got: UInt64) throws(EpochError) {
        guard got == epoch else { throw .wrongEpoch(got: got, expected: epoch) }
        let bytes = UnsafeRawBufferPointer(try space(count))
        checksum = ckernels_crc32c(checksum, bytes.baseAddress, bytes.count)
        length += count
        if epoch == 0, !handler.memoryBegan, !image.appendPrefix(bytes) {
            throw .tooLong(limit: ImageLayout.prefixCapacity)
        }
        do throws(StreamError) {
            try reader.feed(bytes, to: &handler)
        } catch {
            throw .stream(error)
        }
        if let failure = handler.failure { throw failure }
    }

    /// Memory for an encoded frame's body of `count` bytes, at most a data frame's.
    package mutating func encodedSpace(_ count: Int) -> UnsafeMutableRawBufferPointer {
        let memory =
            encoded
            ?? UnsafeMutableRawBufferPointer.allocate(byteCount: Int(FrameHeader.dataLimit), alignment: 16)
        encoded = memory
        return UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
    }

    /// Decodes the encoded frame of `count` bytes that was put into `encodedSpace(count)`, and takes what it stands for.
    /// - Returns: that, valid until the next call.
    package mutating func receivedEncoded(_ count: Int, epoch got: UInt64) throws(EpochError)
        -> UnsafeRawBufferPointer
    {
        guard got == epoch else { throw .wrongEpoch(got: got, expected: epoch) }
        let body = UnsafeRawBufferPointer(encodedSpace(count))
        let plain = count >= 4 ? Int(body.loadLE(at: 0) as UInt32) : 0
        guard plain > 0, plain <= Int(FrameHeader.dataLimit) else {
            throw .encoding(EncodedFrameError("an encoded frame of \(plain) bytes of the stream"))
        }
        let target = try space(plain)
        let image = image
        do throws(EncodedFrameError) {
            let items = UnsafeRawBufferPointer(rebasing: body[4...])
            try decoder.decode(items, into: target) { image.reference($0) }
        } catch {
            throw .encoding(error)
        }
        try received(plain, epoch: got)
        return UnsafeRawBufferPointer(target)
    }

    /// Checks that the epoch is whole: length, checksum, and exactly one checkpoint.
    /// - Returns: its length in the epoch buffer (0 for epoch 0). The next epoch may be received once it is applied.
    package mutating func finish(_ end: EpochEnd, epoch got: UInt64) throws(EpochError) -> Int {
        guard got == epoch else { throw .wrongEpoch(got: got, expected: epoch) }
        guard end.length == UInt64(length) else {
            throw .wrongLength(got: UInt64(length), announced: end.length)
        }
        guard end.checksum == checksum else { throw .wrongChecksum }
        guard handler.checkpoints == 1, reader.completeness == .afterCheckpoint(epochs: epoch + 1) else {
            throw .notOneCheckpoint
        }
        let buffered = epoch == 0 ? 0 : length
        begin(epoch + 1)
        return buffered
    }
}

/// What the reader's findings do to the image: in epoch 0 they go in; later they are only counted.
private struct ImageHandler: StreamHandler {
    let image: StandbyImage
    /// The most pages that may hold data.
    var pageLimit = 0
    /// There are no more than that: none needs to be counted.
    var hasRoomForAll = false
    var epoch: UInt64 = 0
    var checkpoints = 0
    var newPages = 0
    /// Bytes of records that will go into the image's state and emulator parts.
    var stateLength = 0, emulatorLength = 0
    var memoryBegan = false
    var failure: EpochError?

    init(image: StandbyImage) { self.image = image }

    mutating func begin(_ epoch: UInt64) {
        self.epoch = epoch
        checkpoints = 0
        newPages = 0
        stateLength = 0
        emulatorLength = 0
        failure = nil
        if epoch > 0 { memoryBegan = true }
    }

    mutating func recordBegin(_ record: RecordInfo) {
        guard !memoryBegan, record.layer == .libxc, Self.isDynamic(record.libxcType) else { return }
        memoryBegan = true
        image.truncatePrefix(record.offset)
    }

    private static func isDynamic(_ type: LibxcRecordType?) -> Bool {
        switch type {
        case .x86PVInfo, .x86PVP2MFrames, .x86CPUIDPolicy, .x86MSRPolicy, .staticDataEnd: false
        default: true
        }
    }

    mutating func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64) {
        if epoch == 0 {
            image.store(entry, content)
            if !hasRoomForAll, image.populatedPages > pageLimit {
                fail(.overMemoryCeiling(pages: image.populatedPages))
            }
        } else if !hasRoomForAll, content != nil, !image.holdsData(Int(entry.pfn)) {
            newPages += 1
            if image.populatedPages + newPages > pageLimit {
                fail(.overMemoryCeiling(pages: image.populatedPages + newPages))
            }
        }
    }

    mutating func record(_ record: RecordInfo, body: UnsafeRawBufferPointer) {
        guard memoryBegan, let kind = Self.stateKind(record) else { return }
        guard epoch == 0 else {
            count(StreamWriter.recordLength(body: Int(record.length)), kind)
            return
        }
        withUnsafeTemporaryAllocation(byteCount: 8, alignment: 8) { header in
            header.storeLE(record.type, at: 0)
            header.storeLE(record.length, at: 4)
            append(UnsafeRawBufferPointer(header), kind)
            append(body, kind)
            header.storeLE(UInt64(0), at: 0)
            append(UnsafeRawBufferPointer(rebasing: header[..<(-body.count & 7)]), kind)
        }
    }

    private static func stateKind(_ record: RecordInfo) -> StreamLayer? {
        if record.layer == .libxl { return record.libxlType == .checkpointEnd ? nil : .libxl }
        return record.libxcType == .checkpoint ? nil : .libxc
    }

    /// What could not be applied must not be sealed.
    private mutating func count(_ bytes: Int, _ kind: StreamLayer) {
        if kind == .libxl { emulatorLength += bytes } else { stateLength += bytes }
        if stateLength > ImageLayout.stateCapacity {
            fail(.image(ImageError("its state records are too long")))
        }
        if emulatorLength > ImageLayout.emulatorCapacity {
            fail(.image(ImageError("its device model state is too long")))
        }
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer, _ kind: StreamLayer) {
        guard !bytes.isEmpty else { return }
        let fits = kind == .libxl ? image.appendEmulator(bytes) : image.appendState(bytes)
        if !fits { fail(.image(ImageError("its state records are too long"))) }
    }

    mutating func checkpointEnd(epoch: UInt64) { checkpoints += 1 }

    private mutating func fail(_ error: EpochError) {
        if failure == nil { failure = error }
    }
}
