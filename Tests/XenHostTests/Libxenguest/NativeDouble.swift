import Checkpoint
import SystemSupport
import XenHost
import XenStream

/// The native engine's guest, as far as the second engine uses it: it suspends when asked, and keeps no memory.
final class NativeDouble: SupervisedGuest {
    let description: GuestDescription
    private let events: EventFD
    /// What a request is answered with; nil: not yet.
    var answer: SuspendOutcome? = .suspended
    var resumeFails = false
    private(set) var isSuspended = false
    private(set) var isAsked = false
    private(set) var resumes = 0, stops = 0, cancels = 0

    init(kind: GuestKind, pageCount: Int) throws {
        events = try EventFD()
        description = GuestDescription(
            name: "vm",
            uuid: GuestUUID(high: 1, low: 2),
            kind: kind,
            pageCount: pageCount,
            address: "",
            config: Array("{}".utf8)
        )
    }

    var eventDescriptor: Int32 { events.descriptor.raw }
    var stateCapacity: Int { 1 << 16 }
    func ended() -> GuestEnd? { nil }

    func requestSuspend() throws(GuestError) {
        isAsked = true
        if answer != nil { events.signal() }
    }

    func suspendOutcome() throws(GuestError) -> SuspendOutcome? {
        events.drain()
        guard isAsked, let answer else { return nil }
        isAsked = false
        isSuspended = answer == .suspended
        return answer
    }

    func cancelSuspend() {
        (isAsked, isSuspended) = (false, false)
        cancels += 1
    }

    func resume() throws(GuestError) {
        guard !resumeFails else { throw GuestError(guest: "vm", reason: "busy") }
        isSuspended = false
        resumes += 1
    }

    func endLogDirty() { stops += 1 }
    var isDisturbed = false
    func forgetDisturbance() { isDisturbed = false }
    lazy var ram = description.pageCount
    func countPages() throws(GuestError) -> Int { ram }

    func collectPopulated(into bitmap: inout PageBitmap) throws(GuestError) {
        bitmap.insert(0..<description.pageCount)
    }

    // What the second engine does in its place.
    func startDirtyTracking() throws(GuestError) { throw unused }
    func stopDirtyTracking() {}
    func collectDirty(into bitmap: inout PageBitmap) throws(GuestError) { throw unused }
    func copyPages(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer
    ) throws(GuestError) -> Int { throw unused }
    func writeStatic(into writer: inout StreamWriter) throws(GuestError) { throw unused }
    func writeState(into writer: inout StreamWriter) throws(GuestError) { throw unused }
    private var unused: GuestError { GuestError(guest: "vm", reason: "not the native engine's") }
}
