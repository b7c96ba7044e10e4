/// Reads a stream as it comes: a strict state machine that keeps no more than it must.
///
/// It is fed bytes in pieces of any size. After it has warmed up, feeding allocates nothing: pages are handed out from
/// the fed bytes where they are contiguous there, else from one buffer. After an error it stays refused. The rules are
/// those of the libxc stream spec ("Records", "Layout") and the libxl stream spec, and the checks that Xen's own reader
/// makes or lacks.
///
/// The layers alternate without any mark of their own: LIBXC_CONTEXT leads into libxc, CHECKPOINT and the libxc END lead
/// back into libxl, CHECKPOINT_END into libxc again. Type numbers overlap, so the layer is never guessed.
package struct StreamReader: ~Copyable {
    /// How far a stream got when its input ended.
    package enum Completeness: Equatable, Sendable {
        /// No byte was fed.
        case empty
        /// END was read.
        case whole
        /// A checkpointed stream stands right after its checkpoint number `epochs`.
        case afterCheckpoint(epochs: UInt64)
        /// In the middle of something.
        case truncated
    }

    /// The piece that the next bytes belong to.
    enum Piece {
        case ident
        case xlHeader
        case xlConfigLength
        case xlConfig(length: Int, skip: Int)
        case xlSkip(remaining: Int)
        case libxlHeader
        case imageHeader
        case domainHeader
        case recordHeader
        case body
        case ignoredBody(remaining: Int)
        case ignoredPadding
        case pageDataHead
        case pageDataEntries(remaining: Int)
        case pageDataPages
        case finished
    }

    let options: ReaderOptions
    var strict: Bool { options.strictness == .strict }

    // Where the input stands.
    var piece: Piece
    var fedBefore: UInt64 = 0
    var pieceStart: UInt64 = 0
    var gathered = GrowingBuffer(capacity: 8192)
    var failure: StreamError?

    // What the stream is.
    var layer: StreamLayer
    var hasLibxl = false
    var imageVersion: UInt32 = 0
    var domain: DomainHeader?
    var xlHeader: XLSaveHeader?
    var rules = RuleState()
    var current = RecordInfo(layer: .libxc, type: 0, length: 0, index: 0, offset: 0, epoch: 0)
    var recordCount: UInt64 = 0

    // The PAGE_DATA record at hand. Entries up to the first that carries data are told at once, the rest is held.
    var held = GrowingBuffer(capacity: 8 * RecordFraming.customaryBatch)
    var heldNext = 0
    var pagesExpected: UInt64 = 0

    // What checks across records need.
    var types = PageTypeTable()
    var frames = GrowingBuffer(capacity: 1024)
    var p2mFrames = GrowingBuffer(capacity: 1024)
    var vcpuMarks = GrowingBuffer(capacity: 64)

    /// A reader at the start of its input.
    package init(options: ReaderOptions = .init()) {
        self.options = options
        switch options.start {
        case .detect:
            piece = .ident
            layer = .xl
        case .xl:
            piece = .xlHeader
            layer = .xl
        case .libxl:
            piece = .libxlHeader
            layer = .libxl
        case .libxc:
            piece = .imageHeader
            layer = .libxc
        }
    }

    /// Bytes consumed.
    package private(set) var offset: UInt64 = 0

    /// Checkpoints completed.
    package private(set) var epoch: UInt64 = 0

    /// How far the stream got.
    package var completeness: Completeness {
        switch piece {
        case .finished: return .whole
        case .recordHeader
        where failure == nil && gathered.count == 0 && epoch > 0 && layer == .libxc
            && rules.recordsThisEpoch == 0 && !rules.ended:
            return .afterCheckpoint(epochs: epoch)
        default: return offset == 0 && failure == nil ? .empty : .truncated
        }
    }

    /// The input has ended: throws unless the stream is whole or stands right after a checkpoint.
    package func finish() throws(StreamError) {
        if let failure { throw failure }
        switch completeness {
        case .whole, .afterCheckpoint: return
        case .empty: throw error(.empty, "a stream, but the input is empty", at: 0)
        case .truncated:
            if case .ident = piece, !StreamReader.couldBeStream(gathered) {
                throw error(.unrecognised, StreamReader.knownStarts, at: 0)
            }
            throw error(.truncated, "\(missing), but the input ends", at: offset)
        }
    }

    /// Puts a reader that was fed the static part of an earlier session, everything before its first PAGE_DATA, at the
    /// boundary after `epochs` whole checkpoints: a resumed session sends the next epoch at once.
    package mutating func continueAfterCheckpoint(epochs: UInt64) throws(StreamError) {
        if let failure { throw failure }
        guard case .recordHeader = piece, layer == .libxc, gathered.count == 0, epoch == 0, !rules.ended,
            rules.memory == .none
        else {
            throw error(
                .outOfOrder,
                "a reader that was fed the static part only, to continue after a checkpoint"
            )
        }
        guard options.lifecycle != .plain else {
            throw error(.forbiddenRecord, "a checkpointed stream, to continue after a checkpoint")
        }
        guard epochs > 0 else { return }
        try requireMemoryAllowed()
        types.isPartial = true
        rules.memory = .seen
        rules.everSeen = .all
        epoch = epochs
        startEpoch()
    }

    // MARK: Feeding

    /// Reads on. Throws at the first piece that breaks a rule, and again the same whenever it is fed after that.
    package mutating func feed<H: StreamHandler>(
        _ bytes: UnsafeRawBufferPointer,
        to handler: inout H
    ) throws(StreamError) {
        if let failure { throw failure }
        guard let base = bytes.baseAddress, bytes.count > 0 else { return }
        var input = Input(base: base, count: bytes.count, start: fedBefore)
        do throws(StreamError) {
            while try step(&input, &handler) {}
        } catch {
            failure = error
            offset = fedBefore + UInt64(input.position)
            fedBefore = offset
            throw error
        }
        fedBefore += UInt64(input.count)
        offset = fedBefore
    }

    /// The fed bytes and how far they are used.
    struct Input {
        let base: UnsafeRawPointer
        let count: Int
        let start: UInt64
        var position = 0
        var available: Int { count - position }
        var offset: UInt64 { start + UInt64(position) }
    }

    /// The next `length` bytes as one contiguous piece, or nil if they are not all here yet. `pieceStart` is then where
    /// they began.
    @inline(__always)
    mutating func take(_ length: Int, _ input: inout Input) -> UnsafeRawPointer? {
        if gathered.count == 0, input.available >= length {
            pieceStart = input.offset
            let piece = input.base + input.position
            input.position += length
            return piece
        }
        return gather(length, &input)
    }

    private mutating func gather(_ length: Int, _ input: inout Input) -> UnsafeRawPointer? {
        if gathered.count == 0 { pieceStart = input.offset }
        let portion = min(length - gathered.count, input.available)
        gathered.append(input.base + input.position, portion, limit: length)
        input.position += portion
        guard gathered.count == length else { return nil }
        gathered.clear()
        return UnsafeRawPointer(gathered.base)
    }

    /// Handles one piece; false when more input is needed.
    private mutating func step<H: StreamHandler>(
        _ input: inout Input,
        _ handler: inout H
    ) throws(StreamError) -> Bool {
        switch piece {
        case .pageDataPages: return stepPages(&input, &handler)
        case .pageDataEntries(let remaining): return try stepEntries(remaining, &input, &handler)
        case .recordHeader:
            guard let bytes = take(RecordFraming.headerSize, &input) else { return false }
            try beginRecord(type: bytes.u32(0), length: bytes.u32(4), &handler)
        case .body:
            let length = Int(current.length)
            let padding = RecordFraming.padding(length)
            guard let bytes = take(length + padding, &input) else { return false }
            try checkPadding(bytes, length, padding)
            try finishRecord(UnsafeRawBufferPointer(start: bytes, count: length), &handler)
        case .ignoredBody(let remaining):
            let portion = min(remaining, input.available)
            input.position += portion
            piece = portion == remaining ? .ignoredPadding : .ignoredBody(remaining: remaining - portion)
            return portion == remaining
        case .ignoredPadding:
            let padding = RecordFraming.padding(Int(current.length))
            guard let bytes = take(padding, &input) else { return false }
            try checkPadding(bytes, 0, padding)
            piece = .recordHeader
            handler.record(current, body: UnsafeRawBufferPointer(start: nil, count: 0))
        case .pageDataHead:
            guard let bytes = take(8, &input) else { return false }
            try beginPages(count: bytes.u32(0), reserved: bytes.u32(4))
        case .finished:
            guard input.available > 0 else { return false }
            guard !strict else {
                throw error(.trailingData, "nothing after the end of the stream", at: input.offset)
            }
            input.position = input.count
            return false
        default: return try stepHeaders(&input, &handler)
        }
        return true
    }

    private func checkPadding(_ bytes: UnsafeRawPointer, _ length: Int, _ padding: Int) throws(StreamError) {
        guard strict, !bytes.isZero(length, padding) else { return }
        throw error(
            .nonZeroPadding,
            "\(padding) zero bytes of padding after a body of \(length)",
            at: pieceStart + UInt64(length)
        )
    }

    // MARK: Epochs

    mutating func completeEpoch() {
        epoch += 1
        startEpoch()
    }

    // MARK: Errors

    /// An error about the record at hand, or about what precedes the first record.
    func error(
        _ kind: StreamError.Kind,
        _ expected: String,
        at offset: UInt64? = nil
    ) -> StreamError {
        var isRecord = true
        switch piece {
        case .recordHeader: isRecord = gathered.count == 0 && kind != .truncated && recordCount > 0
        case .body, .ignoredBody, .ignoredPadding, .pageDataHead, .pageDataEntries, .pageDataPages: break
        default: isRecord = false
        }
        return StreamError(
            kind: kind,
            offset: offset ?? (isRecord ? current.offset : pieceStart),
            layer: isRecord ? current.layer : layer,
            recordIndex: isRecord ? current.index : nil,
            recordType: isRecord ? current.type : nil,
            epoch: epoch,
            expected: expected
        )
    }

    /// What the next bytes should be.
    private var missing: String {
        switch piece {
        case .ident: "the magic number of an xl, libxl or libxc stream"
        case .xlHeader: "the \(XLSaveHeader.size) bytes of the xl header"
        case .xlConfigLength, .xlConfig, .xlSkip: "the configuration and other optional data"
        case .libxlHeader: "the \(LibxlHeader.size) bytes of the libxl header"
        case .imageHeader: "the \(ImageHeader.size) bytes of the image header"
        case .domainHeader: "the \(DomainHeader.size) bytes of the domain header"
        case .recordHeader: "another \(layer.rawValue) record"
        case .body, .ignoredBody, .ignoredPadding: "a body of \(current.length) bytes"
        case .pageDataHead, .pageDataEntries, .pageDataPages: "\(current.length) bytes of PAGE_DATA"
        case .finished: "nothing"
        }
    }
}
