import Checkpoint
import XenStream

/// One committed epoch of an image as the stream library wants it, for a plain xl image.
final class ImageExport: CommittedState {
    private let snapshot: ImageSnapshot
    private let sections: ImagePrefix
    private let entries: UnsafeMutableBufferPointer<PageEntry>
    private let contents: UnsafeMutableRawBufferPointer
    /// Pages kept aside for a reader that is slower than the guest: 256 MiB of them.
    private static let keptPages = 65_536

    /// An export of the newest committed epoch.
    init(of image: StandbyImage) throws {
        snapshot = try ImageSnapshot(of: image, limit: Self.keptPages)
        sections = try snapshot.prefix.withUnsafeBytes { try ImagePrefix($0) }
        entries = .allocate(capacity: PageBatch.capacity)
        contents = .allocate(byteCount: PageBatch.capacity * guestPageSize, alignment: guestPageSize)
    }

    deinit {
        entries.deallocate()
        contents.deallocate()
    }

    var domainHeader: DomainHeader { sections.domain }

    func withSection(_ section: CommittedSection, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        let bytes: [UInt8] =
            switch section {
            case .config: sections.config
            case .staticRecords: sections.staticRecords
            case .p2mFrames: sections.p2mFrames
            case .stateRecords: snapshot.state
            case .emulatorRecords: snapshot.emulator
            }
        try bytes.withUnsafeBytes(body)
    }

    func fill(_ batch: inout PageBatch, from first: UInt64) throws -> UInt64? {
        let (count, _) = try snapshot.next(entries: entries, contents: contents)
        guard count > 0 else { return nil }
        var offset = 0
        for entry in entries[..<count] {
            batch.append(entry, content: contents.baseAddress.map { $0 + offset })
            if entry.type.carriesData { offset += guestPageSize }
        }
        return entries[count - 1].pfn + 1
    }
}

extension StandbyImage {
    /// The guest that it is of, with the configuration that its primary sent.
    var description: GuestDescription {
        GuestDescription(
            name: name,
            uuid: uuid,
            kind: kind,
            pageCount: layout.pageCount,
            address: address,
            config: (try? ImagePrefix(prefix).config) ?? []
        )
    }
}

/// The pieces of an image's prefix, found by the strict reader.
struct ImagePrefix {
    var domain: DomainHeader
    var config: [UInt8]
    var staticRecords: [UInt8]
    var p2mFrames: [UInt8]

    init(_ prefix: UnsafeRawBufferPointer) throws {
        var finder = Finder()
        var reader = StreamReader(options: ReaderOptions(start: .xl))
        try reader.feed(prefix, to: &finder)
        guard let domain = finder.domain else { throw ImageError("its headers are not whole") }
        self.domain = domain
        config = finder.config
        staticRecords = finder.staticRecords
        p2mFrames = finder.p2mFrames
    }

    private struct Finder: StreamHandler {
        var domain: DomainHeader?
        var config: [UInt8] = []
        var staticRecords: [UInt8] = []
        var p2mFrames: [UInt8] = []

        mutating func config(_ json: UnsafeRawBufferPointer) { config = Array(json) }
        mutating func domainHeader(_ header: DomainHeader) { domain = header }

        mutating func record(_ record: RecordInfo, body: UnsafeRawBufferPointer) {
            guard let type = record.libxcType else { return }
            let length = StreamWriter.recordLength(body: body.count)
            let raw = [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
                var writer = StreamWriter(UnsafeMutableRawBufferPointer(buffer))
                writer.appendRecord(type, body: body)
                count = length
            }
            if type == .x86PVP2MFrames { p2mFrames += raw } else { staticRecords += raw }
        }
    }
}
