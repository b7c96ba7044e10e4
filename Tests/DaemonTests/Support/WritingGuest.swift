import Checkpoint
import Synchronization
import SystemSupport
import XenStream

/// A guest that is a piece of memory, and writes when it is suspended, or before and after it is swept, as often as it was told to.
final class WritingGuest: ProtectedGuest, Sendable {
    private struct State {
        var pages: [[UInt8]]
        var written: Set<Int> = []
        var random: SplitMix
        /// Epochs in which it still writes.
        var busyEpochs = 0
        /// What it says of its dirty pages while it runs, and how often it was asked.
        var claim: Int?
        var looks = 0
        /// It stands still, and was not asked whether it does; rounds that its engine made all the same.
        var isUnseen = false
        var roundsUnseen = 0

        /// In this epoch it has written before it may be swept.
        var wasEarly = false

        mutating func write(_ count: Int) {
            guard busyEpochs > 0 else { return }
            busyEpochs -= 1
            for _ in 0..<count {
                let pfn = Int.random(in: pages.indices, using: &random)
                let word = Int.random(in: 0..<512, using: &random) * 8
                for byte in word..<word + 8 { pages[pfn][byte] &+= 1 }
                if pfn % 16 == 0 { pages[pfn] = [UInt8](repeating: 0, count: guestPageSize) }
                written.insert(pfn)
            }
        }
    }

    let description: GuestDescription
    let stateCapacity = 4096
    /// It stands still at once, and says so.
    private let suspended = try? EventFD()
    private let writesEarly: Bool
    private let state: Mutex<State>

    /// - Parameter writesEarly: it writes before it may be swept, too.
    init(pages count: Int, seed: UInt64, writesEarly: Bool = false) {
        self.writesEarly = writesEarly
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

    /// Has it say this when it is asked how many pages are dirty; nil: that it cannot.
    func claim(dirty pages: Int?) { state.withLock { $0.claim = pages } }
    /// How often it was asked.
    var looks: Int { state.withLock { $0.looks } }

    func dirtyCount() -> Int? {
        state.withLock {
            $0.looks += 1
            return $0.claim
        }
    }

    /// Its engine makes a round.
    func noteRound() { state.withLock { if $0.isUnseen { $0.roundsUnseen += 1 } } }
    /// Rounds in which it stood still, and nobody had asked whether it does.
    var roundsUnseen: Int { state.withLock { $0.roundsUnseen } }

    /// Changes one byte.
    func change(_ pfn: Int, _ offset: Int) {
        state.withLock {
            $0.pages[pfn][offset] ^= 0xFF
            $0.written.insert(pfn)
        }
    }

    func wantsSweep() -> Bool {
        guard writesEarly else { return false }
        state.withLock { state in
            if !state.wasEarly { state.write(20) }
            state.wasEarly = true
        }
        return false
    }

    func requestSuspend() {
        state.withLock { state in
            state.write(writesEarly ? 4 : 20)
            state.wasEarly = false
            state.isUnseen = true
        }
        suspended?.signal()
    }

    func ended() -> GuestEnd? { nil }
    func startDirtyTracking() { state.withLock { $0.written = [] } }
    func stopDirtyTracking() {}
    var eventDescriptor: Int32 { suspended?.descriptor.raw ?? -1 }
    func suspendOutcome() -> SuspendOutcome? {
        state.withLock { $0.isUnseen = false }
        suspended?.drain()
        return .suspended
    }
    func cancelSuspend() { suspended?.drain() }
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
