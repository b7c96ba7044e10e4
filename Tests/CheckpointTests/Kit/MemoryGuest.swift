import XenStream

@testable import Checkpoint

/// A guest that is a piece of memory; whoever writes to it is known.
final class MemoryGuest: ProtectedGuest {
    let description: GuestDescription
    var pages: [[UInt8]]
    var written: Set<Int> = []
    var failsToCopy = false
    /// The state of its device model, if it has one.
    var devices: [UInt8]?
    /// Pages that can be had: all below this, and nothing at all while it is nil.
    var available: Int? = .max
    let eventDescriptor: Int32 = -1
    let stateCapacity = 4096

    init(pages count: Int) {
        description = GuestDescription(
            name: "memory",
            uuid: GuestUUID(high: 3, low: 4),
            kind: .hvm,
            pageCount: count,
            address: "",
            config: Array("{}".utf8)
        )
        pages = Array(repeating: [UInt8](repeating: 0, count: guestPageSize), count: count)
    }

    func write(_ pfn: Int, _ byte: UInt8) {
        pages[pfn] = [UInt8](repeating: byte, count: guestPageSize)
        written.insert(pfn)
    }

    func ended() -> GuestEnd? { nil }
    func startDirtyTracking() { written = [] }
    func stopDirtyTracking() {}
    func requestSuspend() {}
    func suspendOutcome() -> SuspendOutcome? { .suspended }
    func cancelSuspend() {}
    func resume() {}

    func collectDirty(into bitmap: inout PageBitmap) {
        for pfn in written { bitmap.insert(pfn) }
        written = []
    }

    func collectPopulated(into bitmap: inout PageBitmap) {
        for pfn in pages.indices where pages[pfn].contains(where: { $0 != 0 }) { bitmap.insert(pfn) }
    }

    func copyPages(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer
    ) throws(GuestError) -> Int {
        if failsToCopy { throw GuestError(guest: "memory", reason: "no page") }
        for (index, pfn) in pfns.enumerated() {
            pages[Int(pfn)].withUnsafeBytes { bytes in
                if let base = bytes.baseAddress {
                    (contents + index * guestPageSize).copyMemory(from: base, byteCount: guestPageSize)
                }
            }
            types[index] = .normal
        }
        return pfns.count
    }

    func hasPages(_ pfns: UnsafeBufferPointer<UInt64>) -> Bool {
        available.map { limit in pfns.allSatisfy { $0 < limit } } ?? false
    }

    func writeStatic(into writer: inout StreamWriter) { writer.appendRecord(.staticDataEnd) }

    func writeState(into writer: inout StreamWriter) {
        writer.appendTSCInfo(TSCInfo(khz: 1_000_000, nanoseconds: 1, incarnation: 1))
        writer.appendHVMParams(UnsafeBufferPointer(start: nil, count: 0))
        withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { payload in
            payload.initializeMemory(as: UInt8.self, repeating: 7)
            writer.appendHVMContext(typecode: 0xE201, payload: UnsafeRawBufferPointer(payload))
        }
    }

    func writeDeviceModel(into writer: inout StreamWriter) {
        guard let devices else { return }
        let keys = Array("physmap/0/size\u{0}800000\u{0}".utf8)
        keys.withUnsafeBytes { writer.appendEmulator(.emulatorXenstoreData, content: $0) }
        devices.withUnsafeBytes { writer.appendEmulator(.emulatorContext, content: $0) }
    }
}
