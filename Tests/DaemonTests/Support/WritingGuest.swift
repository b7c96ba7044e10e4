import Checkpoint
import Synchronization
import XenStream

/// A guest that is a piece of memory, and writes when it is suspended, as often as it was told to.
final class WritingGuest: ProtectedGuest, Sendable {
    private struct State {
        var pages: [[UInt8]]
        var written: Set<Int> = []
        var random: SplitMix
        /// Epochs in which it still writes.
        var busyEpochs = 0
    }

    let description: GuestDescription
    let eventDescriptor: Int32 = -1
    let stateCapacity = 4096
    private let state: Mutex<State>

    init(pages count: Int, seed: UInt64) {
        description = GuestDescription(
            name: "web1",
            uuid: GuestUUID(high: 1, low: 2),
            kind: .hvm,
            pageCount: count,
            address: "",
            config: Array("{}".utf8)
        )
        let pages = (0..<count).map { pfn in
            (0..<guestPageSize).map { UInt8(truncatingIfNeeded: $0 * 7 + pfn) }
        }
        state = Mutex(State(pages: pages, random: SplitMix(state: seed)))
    }

    /// Its memory.
    var pages: [[UInt8]] { state.withLock { $0.pages } }

    /// Writes in so many epochs more.
    func write(epochs: Int) { state.withLock { $0.busyEpochs = epochs } }
    var isBusy: Bool { state.withLock { $0.busyEpochs > 0 } }

    /// Changes one byte.
    func change(_ pfn: Int, _ offset: Int) {
        state.withLock {
            $0.pages[pfn][offset] ^= 0xFF
            $0.written.insert(pfn)
        }
    }

    func requestSuspend() {
        state.withLock { state in
            guard state.busyEpochs > 0 else { return }
            state.busyEpochs -= 1
            for _ in 0..<20 {
                let pfn = Int.random(in: state.pages.indices, using: &state.random)
                let word = Int.random(in: 0..<512, using: &state.random) * 8
                for byte in word..<word + 8 { state.pages[pfn][byte] &+= 1 }
                if pfn % 16 == 0 { state.pages[pfn] = [UInt8](repeating: 0, count: guestPageSize) }
                state.written.insert(pfn)
            }
        }
    }

    func ended() -> GuestEnd? { nil }
    func startDirtyTracking() { state.withLock { $0.written = [] } }
    func stopDirtyTracking() {}
    func suspendOutcome() -> SuspendOutcome? { .suspended }
    func cancelSuspend() {}
    func resume() {}

    func collectDirty(into bitmap: inout PageBitmap) {
        let written = state.withLock { state in
            defer { state.written = [] }
            return state.written
        }
        for pfn in written { bitmap.insert(pfn) }
    }

    func collectPopulated(into bitmap: inout PageBitmap) { bitmap.insert(0..<description.pageCount) }

    func copyPages(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer
    ) -> Int {
        let pages = pages
        for (index, pfn) in pfns.enumerated() {
            UnsafeMutableRawBufferPointer(start: contents + index * guestPageSize, count: guestPageSize)
                .copyBytes(from: pages[Int(pfn)])
            types[index] = .normal
        }
        return pfns.count
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
}
