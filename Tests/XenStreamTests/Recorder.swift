import XenStream

/// A handler that keeps everything it is told.
struct Recorder: StreamHandler {
    var config: [UInt8] = []
    var libxl: LibxlHeader?
    var image: ImageHeader?
    var domain: DomainHeader?
    var begun: [RecordInfo] = []
    var records: [(info: RecordInfo, body: [UInt8])] = []
    var pages: [(entry: PageEntry, epoch: UInt64, sum: UInt64?, offset: UInt64)] = []
    var checkpoints: [UInt64] = []
    var committed: [UInt64] = []
    var ended = false

    mutating func config(_ json: UnsafeRawBufferPointer) { config = Array(json) }
    mutating func libxlHeader(_ header: LibxlHeader) { libxl = header }
    mutating func imageHeader(_ header: ImageHeader) { image = header }
    mutating func domainHeader(_ header: DomainHeader) { domain = header }
    mutating func recordBegin(_ record: RecordInfo) { begun.append(record) }
    mutating func record(_ record: RecordInfo, body: UnsafeRawBufferPointer) {
        records.append((record, Array(body)))
    }
    mutating func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64) {
        let sum = content.map { $0.reduce(into: UInt64(0)) { $0 = $0 &* 31 &+ UInt64($1) } }
        pages.append((entry, begun.last?.epoch ?? 0, sum, contentOffset))
    }
    mutating func checkpoint(epoch: UInt64) { checkpoints.append(epoch) }
    mutating func checkpointEnd(epoch: UInt64) { committed.append(epoch) }
    mutating func end() { ended = true }

    /// Everything but the contents of bodies, to compare two readings.
    var outline: [String] {
        begun.map { "\($0)" } + pages.map { "\($0)" } + records.map { "\($0.info) \($0.body)" }
            + ["\(checkpoints) \(committed) \(ended) \(config)"]
    }
}

/// What became of a stream.
struct Reading {
    var recorder = Recorder()
    var error: StreamError?
    var completeness = StreamReader.Completeness.empty
    var kind: StreamError.Kind? { error?.kind }

    /// Reads `bytes` whole, or in portions that `next` gives.
    init(_ bytes: [UInt8], _ options: ReaderOptions = .init(), next: (() -> Int)? = nil) {
        var reader = StreamReader(options: options)
        do throws(StreamError) {
            var position = 0
            while position < bytes.count {
                let end = min(bytes.count, position + max(1, next?() ?? bytes.count))
                try feed(&reader, bytes[position..<end])
                position = end
            }
            try reader.finish()
        } catch {
            self.error = error
        }
        completeness = reader.completeness
    }

    private mutating func feed(
        _ reader: inout StreamReader,
        _ bytes: ArraySlice<UInt8>
    ) throws(StreamError) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { copy.deallocate() }
        copy.copyBytes(from: bytes)
        try reader.feed(UnsafeRawBufferPointer(copy), to: &recorder)
    }
}

extension ReaderOptions {
    static let lenient = ReaderOptions(strictness: .lenient)
    static func lifecycle(_ lifecycle: Lifecycle) -> ReaderOptions { .init(lifecycle: lifecycle) }
}

/// Bytes from hexadecimal text; anything else in it is ignored.
func hex(_ text: String) -> [UInt8] {
    let digits = text.compactMap { $0.hexDigitValue }
    return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
}

/// What a writer makes in `capacity` bytes.
func written(_ capacity: Int = 8192, _ body: (inout StreamWriter) -> Void) -> [UInt8] {
    Array(unsafeUninitializedCapacity: capacity) { buffer, count in
        var writer = StreamWriter(UnsafeMutableRawBufferPointer(buffer))
        body(&writer)
        count = writer.count
    }
}

/// A record with a body given as bytes.
func record(_ type: UInt32, _ body: [UInt8] = [], length: Int? = nil, padding: UInt8 = 0) -> [UInt8] {
    written(body.count + 32) { writer in
        writer.beginRecord(type: type, length: length ?? body.count)
        body.withUnsafeBytes { writer.appendRaw($0) }
        for _ in 0..<RecordFraming.padding(body.count) {
            writer.advance(1).storeBytes(of: padding, as: UInt8.self)
        }
    }
}

/// A libxc record.
func record(_ type: LibxcRecordType, _ body: [UInt8] = []) -> [UInt8] { record(type.rawValue, body) }

/// A libxl record.
func record(_ type: LibxlRecordType, _ body: [UInt8] = []) -> [UInt8] { record(type.rawValue, body) }
