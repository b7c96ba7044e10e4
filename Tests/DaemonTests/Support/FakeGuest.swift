import Checkpoint
import XenStream

/// A guest that does nothing and fails on demand.
final class FakeGuest: ProtectedGuest {
    let description = GuestDescription(
        name: "web1",
        uuid: GuestUUID(high: 1, low: 2),
        kind: .hvm,
        pageCount: 16,
        address: "",
        config: Array("{}".utf8)
    )
    let eventDescriptor: Int32 = -1
    var end: GuestEnd?
    /// This many more resumes fail.
    var resumeFailures = 0
    private(set) var isSuspended = false
    /// This many more pauses, or unpauses, fail.
    var pauseFailures = 0
    /// Pauses and unpauses that succeeded, in order.
    private(set) var pauses: [String] = []

    init(isSuspended: Bool = false) { self.isSuspended = isSuspended }

    func ended() -> GuestEnd? { end }
    func startDirtyTracking() throws(GuestError) {}
    func stopDirtyTracking() {}
    func collectDirty(into bitmap: inout PageBitmap) throws(GuestError) {}
    func collectPopulated(into bitmap: inout PageBitmap) throws(GuestError) {}
    func copyPages(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer
    ) throws(GuestError) -> Int { 0 }
    func requestSuspend() throws(GuestError) { isSuspended = true }
    func suspendOutcome() throws(GuestError) -> SuspendOutcome? { .suspended }
    func cancelSuspend() { isSuspended = false }
    func writeStatic(into writer: inout StreamWriter) throws(GuestError) {}
    func writeState(into writer: inout StreamWriter) throws(GuestError) {}
    var stateCapacity: Int { 64 }

    func resume() throws(GuestError) {
        if resumeFailures > 0 {
            resumeFailures -= 1
            throw GuestError(guest: "web1", reason: "resume: busy")
        }
        isSuspended = false
    }

    func standStill() throws(GuestError) { try carryOut("pause") }
    func runAgain() throws(GuestError) { try carryOut("unpause") }

    private func carryOut(_ order: String) throws(GuestError) {
        if pauseFailures > 0 {
            pauseFailures -= 1
            throw GuestError(guest: "web1", reason: "\(order): busy")
        }
        pauses.append(order)
    }
}
