import XenStream

/// The plainest possible standby: it keeps the newest committed state in dictionaries and gives it out for an image.
final class StandbyModel: StreamHandler, CommittedState {
    struct Page {
        var type: PageType
        var content: [UInt8]?
    }

    private(set) var domainHeader = DomainHeader(kind: .hvm, xenMajor: 0, xenMinor: 0)
    private(set) var pages: [UInt64: Page] = [:]
    private var pending: [UInt64: Page] = [:]
    private var sections: [CommittedSection: [UInt8]] = [:]
    private var state: [UInt8] = []
    private var emulator: [UInt8] = []
    private var order: [UInt64] = []

    func config(_ json: UnsafeRawBufferPointer) { sections[.config] = Array(json) }
    func domainHeader(_ header: DomainHeader) { domainHeader = header }

    func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64) {
        let old = pending[entry.pfn] ?? pages[entry.pfn]
        if entry.type == .absent, old == nil { return }
        pending[entry.pfn] = Page(type: entry.type, content: content.map { Array($0) } ?? old?.content)
    }

    func record(_ info: RecordInfo, body: UnsafeRawBufferPointer) {
        let bytes = XenStreamTests.record(info.type, Array(body))
        switch (info.libxlType, info.libxcType) {
        case (.emulatorContext, _), (.emulatorXenstoreData, _): emulator += bytes
        case (_, .x86PVP2MFrames): sections[.p2mFrames] = bytes
        case (_, .x86PVInfo), (_, .x86CPUIDPolicy), (_, .x86MSRPolicy), (_, .staticDataEnd):
            sections[.staticRecords, default: []] += bytes
        case (nil, _): state += bytes
        default: break
        }
    }

    func checkpointEnd(epoch: UInt64) {
        pages.merge(pending) { $1 }
        pending = [:]
        sections[.stateRecords] = state
        sections[.emulatorRecords] = emulator
        state = []
        emulator = []
        order = []
    }

    func end() { checkpointEnd(epoch: 0) }

    func withSection(
        _ section: CommittedSection,
        _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try (sections[section] ?? []).withUnsafeBytes(body)
    }

    func fill(_ batch: inout PageBatch, from first: UInt64) throws -> UInt64? {
        if order.isEmpty { order = pages.keys.sorted() }
        var index = order.partitioningIndex { $0 >= first }
        while index < order.count {
            guard !batch.isFull, let page = pages[order[index]] else { return order[index] }
            let entry = PageEntry(pfn: order[index], type: page.type)
            (page.content ?? []).withUnsafeBytes { batch.append(entry, content: $0.baseAddress) }
            index += 1
        }
        return nil
    }
}

extension [UInt64] {
    /// The first index whose element fulfils a predicate that stays true from there on.
    fileprivate func partitioningIndex(_ predicate: (UInt64) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if predicate(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
