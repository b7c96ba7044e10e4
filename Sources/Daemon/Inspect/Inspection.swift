import FoundationEssentials
import XenStream

/// How an inspection is shown.
package enum InspectionFormat: String, Sendable, CaseIterable {
    /// One line per record, then the summary.
    case text
    /// One JSON document, written as the stream is read.
    case json
}

/// Reads a stream and lists what is in it, in constant memory.
package struct Inspection: ~Copyable {
    private var reader: StreamReader
    private var listing: InspectionListing
    private var failure: StreamError?

    /// Budgets under which an inspection stays below 64 MiB whatever it is fed.
    package static let budgets: ReaderBudgets = {
        var budgets = ReaderBudgets()
        budgets.bufferedLength = 16 << 20
        budgets.configLength = 2 << 20
        budgets.heldPageEntries = 512 << 10
        budgets.pageTypeBytes = 8 << 20
        return budgets
    }()

    /// An inspection that writes to `output`; with `summaryOnly` records are counted, not listed.
    package init(
        format: InspectionFormat,
        summaryOnly: Bool,
        strictness: ReaderOptions.Strictness,
        output: ListingOutput
    ) {
        reader = StreamReader(options: .init(strictness: strictness, budgets: Inspection.budgets))
        listing = InspectionListing(format: format, summaryOnly: summaryOnly, output: output)
        listing.start()
    }

    /// Reads on; false once the stream is refused, when nothing more need be fed.
    package mutating func feed(_ bytes: UnsafeRawBufferPointer) -> Bool {
        do throws(StreamError) {
            try reader.feed(bytes, to: &listing)
            return true
        } catch {
            failure = error
            return false
        }
    }

    /// Ends the listing and returns why the stream was refused, nil for a whole well-formed one.
    package mutating func finish() -> StreamError? {
        if failure == nil {
            do throws(StreamError) { try reader.finish() } catch { failure = error }
        }
        listing.finish(reader.completeness, bytes: reader.offset, failure)
        return failure
    }
}

/// The handler behind an inspection.
struct InspectionListing: StreamHandler {
    let format: InspectionFormat
    let summaryOnly: Bool
    let output: ListingOutput

    private var xl: XLSaveHeader?
    private var libxl: LibxlHeader?
    private var image: ImageHeader?
    private var domain: DomainHeader?
    private var guestName: String?
    private var guestType: String?
    private var configLength: Int?
    private var checkpoints: UInt64 = 0
    private var tally = StreamTally()
    /// The tally up to the last whole checkpoint.
    private var committed: StreamTally?
    private var record = StreamTally()
    private var firstPFN: UInt64?
    private var lastPFN: UInt64 = 0
    private var listed: UInt64 = 0

    init(format: InspectionFormat, summaryOnly: Bool, output: ListingOutput) {
        self.format = format
        self.summaryOnly = summaryOnly
        self.output = output
    }

    func start() {
        switch format {
        case .json: output.put("{\"schema\":\"remusd.inspect/1\",\"records\":[")
        case .text:
            guard !summaryOnly else { return }
            output.put("        offset  layer  epoch  record                      length  what\n")
        }
    }

    // MARK: Headers

    mutating func xlHeader(_ header: XLSaveHeader) {
        xl = header
        tally.bytes += UInt64(XLSaveHeader.size) + UInt64(header.optionalDataLength)
        line(0, .xl, "header", XLSaveHeader.size, "flags 0x" + String(header.mandatoryFlags, radix: 16))
    }

    mutating func config(_ json: UnsafeRawBufferPointer) {
        configLength = json.count
        readNames(json)
        line(
            UInt64(XLSaveHeader.size + 4),
            .xl,
            "config",
            json.count,
            guestName.map { "guest " + SafeText.terminal($0) } ?? ""
        )
    }

    mutating func libxlHeader(_ header: LibxlHeader) {
        libxl = header
        line(tally.bytes, .libxl, "header", LibxlHeader.size, "version \(header.version)")
        tally.bytes += UInt64(LibxlHeader.size)
    }

    mutating func imageHeader(_ header: ImageHeader) {
        image = header
        line(tally.bytes, .libxc, "image header", ImageHeader.size, "version \(header.version)")
        tally.bytes += UInt64(ImageHeader.size)
    }

    mutating func domainHeader(_ header: DomainHeader) {
        domain = header
        let xen = "\(header.xenMajor).\(header.xenMinor)"
        line(tally.bytes, .libxc, "domain header", DomainHeader.size, "\(kindName), Xen \(xen)")
        tally.bytes += UInt64(DomainHeader.size)
    }

    /// The guest's name and type, where the configuration is JSON of a reasonable size.
    private mutating func readNames(_ json: UnsafeRawBufferPointer) {
        struct Configuration: Decodable {
            struct CreateInfo: Decodable {
                let name: String?
                let type: String?
            }
            let c_info: CreateInfo?
        }
        guard json.count <= 128 << 10 else { return }
        let info = try? JSONDecoder().decode(Configuration.self, from: Data(json)).c_info
        guestName = info?.name
        guestType = info?.type
    }

    // MARK: Records

    mutating func recordBegin(_ record: RecordInfo) {
        guard record.libxcType == .pageData else { return }
        self.record = StreamTally()
        firstPFN = nil
    }

    mutating func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64) {
        record.add(entry, content: content)
        firstPFN = min(firstPFN ?? .max, entry.pfn)
    }

    mutating func pageDataEnd(_ record: RecordInfo) {
        let page = self.record
        tally.pageEntries += page.pageEntries
        tally.pagesWithData += page.pagesWithData
        tally.zeroPages += page.zeroPages
        if let highest = page.highestPFN { tally.highestPFN = max(tally.highestPFN ?? 0, highest) }
        for type in tally.types.indices { tally.types[type] += page.types[type] }
        count(record)
        guard !summaryOnly else { return }
        show(
            record,
            [
                RecordField("entries", page.pageEntries), RecordField("pages", page.pagesWithData),
                RecordField("zero", page.zeroPages), RecordField("from pfn", hex: firstPFN ?? 0),
                RecordField("to pfn", hex: page.highestPFN ?? 0),
            ],
            types: page.typeCounts
        )
    }

    mutating func record(_ record: RecordInfo, body: UnsafeRawBufferPointer) {
        count(record)
        guard !summaryOnly else { return }
        show(record, RecordFields.of(record, body), types: nil)
    }

    mutating func checkpointEnd(epoch: UInt64) {
        checkpoints = epoch + 1
        committed = tally
    }

    private mutating func count(_ record: RecordInfo) {
        tally.records += 1
        tally.bytes += UInt64(StreamWriter.recordLength(body: Int(record.length)))
    }

    // MARK: Lines

    private func line(_ offset: UInt64, _ layer: StreamLayer, _ name: String, _ length: Int, _ what: String) {
        guard format == .text, !summaryOnly else { return }
        columns(offset, layer, epoch: "", name, length)
        output.put(what.isEmpty ? "\n" : "  " + what + "\n")
    }

    private func columns(
        _ offset: UInt64,
        _ layer: StreamLayer,
        epoch: String,
        _ name: String,
        _ length: Int
    ) {
        output.put(String(offset), width: 14, right: true)
        output.put("  ")
        output.put(layer.rawValue, width: 5)
        output.put("  ")
        output.put(epoch, width: 5, right: true)
        output.put("  ")
        output.put(name, width: 23)
        output.put(String(length), width: 11, right: true)
    }

    private mutating func show(
        _ record: RecordInfo,
        _ fields: [RecordField],
        types: [(name: String, count: UInt64)]?
    ) {
        switch format {
        case .text:
            columns(record.offset, record.layer, epoch: String(record.epoch), record.name, Int(record.length))
            var parts = fields.map(\.line)
            if let types { parts += types.map { "\($0.name) \($0.count)" } }
            output.put(parts.isEmpty ? "\n" : "  " + parts.joined(separator: ", ") + "\n")
        case .json:
            var text = listed == 0 ? "\n" : ",\n"
            text +=
                "{\"index\":\(record.index),\"offset\":\(record.offset),\"layer\":\"\(record.layer.rawValue)\""
            text +=
                ",\"epoch\":\(record.epoch),\"type\":\(record.type),\"name\":\(SafeText.json(record.name))"
            text += ",\"length\":\(record.length)"
            for field in fields { text += "," + field.json }
            if let types { text += ",\"types\":" + InspectionListing.object(types) }
            output.put(text + "}")
        }
        listed += 1
    }

    private static func object(_ types: [(name: String, count: UInt64)]) -> String {
        "{" + types.map { SafeText.json($0.name) + ":\($0.count)" }.joined(separator: ",") + "}"
    }

    // MARK: Summary

    private var kindName: String {
        switch domain?.kind {
        case .pv: "PV"
        case .hvm: "HVM or PVH"
        case nil: "unknown"
        }
    }

    private var layers: String {
        var parts: [String] = []
        if xl != nil { parts.append("xl image") }
        if let libxl { parts.append("libxl stream version \(libxl.version)") }
        if let image { parts.append("libxc stream version \(image.version)") }
        return parts.isEmpty ? "unknown" : parts.joined(separator: ", ")
    }

    /// What the summary is about: the whole stream, or of a checkpointed one its whole checkpoints.
    private var summed: StreamTally { committed ?? tally }

    func finish(_ completeness: StreamReader.Completeness, bytes: UInt64, _ failure: StreamError?) {
        switch format {
        case .text: textSummary(completeness, bytes, failure)
        case .json: jsonSummary(completeness, bytes, failure)
        }
        output.flush()
    }

    private func verdict(_ completeness: StreamReader.Completeness, _ failure: StreamError?) -> String {
        if let failure { return failure.kind.rawValue }
        if case .afterCheckpoint = completeness { return "afterCheckpoint" }
        return "whole"
    }

    private func textSummary(
        _ completeness: StreamReader.Completeness,
        _ bytes: UInt64,
        _ failure: StreamError?
    ) {
        func put(_ name: String, _ value: String) {
            output.put("  ")
            output.put(name, width: 14)
            output.put(value + "\n")
        }
        let tally = summed
        output.put(summaryOnly ? "" : "\nsummary\n")
        put("format", layers)
        if let domain {
            let name = guestName.map { " \"" + SafeText.terminal($0) + "\"" } ?? ""
            put("guest", "\(kindName)\(name), saved by Xen \(domain.xenMajor).\(domain.xenMinor)")
        }
        put("checkpoints", checkpoints == 0 ? "none (plain)" : "\(checkpoints) whole")
        put("records", "\(tally.records)")
        put("bytes", "\(tally.bytes)")
        put(
            "pages",
            "\(tally.pagesWithData) with data (\(tally.zeroPages) zero), \(tally.pageEntries) entries"
        )
        for (name, count) in tally.typeCounts { put("  " + name, "\(count)") }
        if let highest = tally.highestPFN { put("highest pfn", "0x" + String(highest, radix: 16)) }
        if bytes > tally.bytes { put("beyond these", "\(bytes - tally.bytes) bytes read") }
        switch verdict(completeness, failure) {
        case "whole": put("result", "well-formed and whole")
        case "afterCheckpoint": put("result", "well-formed, ends after a whole checkpoint")
        case let kind: put("result", "refused: \(kind)")
        }
    }

    private func jsonSummary(
        _ completeness: StreamReader.Completeness,
        _ bytes: UInt64,
        _ failure: StreamError?
    ) {
        func number(_ value: (some BinaryInteger)?) -> String { value.map { "\($0)" } ?? "null" }
        func string(_ value: String?) -> String { value.map { SafeText.json($0) } ?? "null" }
        let tally = summed
        var text = "\n],\"summary\":{\"result\":\"\(verdict(completeness, failure))\""
        text +=
            ",\"layers\":["
            + [xl.map { _ in "xl" }, libxl.map { _ in "libxl" }, image.map { _ in "libxc" }]
            .compactMap { $0 }.map { SafeText.json($0) }.joined(separator: ",") + "]"
        text += ",\"libxl_version\":\(number(libxl?.version)),\"libxc_version\":\(number(image?.version))"
        text += ",\"guest\":\(string(guestName)),\"config_type\":\(string(guestType))"
        text += ",\"config_bytes\":\(number(configLength)),\"kind\":"
        text += string(domain.map { $0.kind == .pv ? "pv" : "hvm" })
        text += ",\"xen\":" + string(domain.map { "\($0.xenMajor).\($0.xenMinor)" })
        text += ",\"checkpoints\":\(checkpoints),\"records\":\(tally.records),\"bytes\":\(tally.bytes)"
        text += ",\"bytes_read\":\(bytes),\"page_entries\":\(tally.pageEntries)"
        text += ",\"pages_with_data\":\(tally.pagesWithData),\"zero_pages\":\(tally.zeroPages)"
        text += ",\"highest_pfn\":\(number(tally.highestPFN))"
        text += ",\"types\":" + InspectionListing.object(tally.typeCounts) + "},\"error\":"
        guard let failure else {
            output.put(text + "null}\n")
            return
        }
        text += "{\"kind\":\"\(failure.kind.rawValue)\",\"offset\":\(failure.offset)"
        text += ",\"layer\":\"\(failure.layer.rawValue)\",\"record_index\":\(number(failure.recordIndex))"
        text += ",\"record_type\":\(number(failure.recordType)),\"record_name\":\(string(failure.recordName))"
        text += ",\"epoch\":\(failure.epoch),\"expected\":\(SafeText.json(failure.expected))}"
        output.put(text + "}\n")
    }
}
