import XenStream

/// Why a guest stopped running by itself.
package enum GuestEnd: String, Equatable, Sendable {
    case shutdown, reboot, crashed
}

/// What became of a suspend request.
package enum SuspendOutcome: Equatable, Sendable {
    /// The guest is suspended: no vcpu runs until `resume`.
    case suspended
    /// It had not suspended at the deadline; the request is withdrawn and the guest runs.
    case refused
    /// It ended instead.
    case ended(GuestEnd)
    /// Somebody else keeps it from running: it is paused, or another tool has suspended it. The request is withdrawn.
    /// It sends nothing meanwhile, and its image stays what it is.
    case paused
}

/// A hypervisor's operation on a guest that failed.
package struct GuestError: Error, Equatable, Sendable, CustomStringConvertible {
    package let guest: String
    /// What failed and why, in words an operator can act on.
    package let reason: String
    /// What was collected so far is not to be trusted any more: some page may have been written without being known
    /// as dirty. Nothing less than all of memory, in a new session, makes a whole image again.
    package let voidsTracking: Bool
    /// The guest has only begun to run: what is impossible now will soon be possible.
    package let isStarting: Bool

    package init(guest: String, reason: String, voidsTracking: Bool = false, isStarting: Bool = false) {
        self.guest = guest
        self.reason = reason
        self.voidsTracking = voidsTracking
        self.isStarting = isStarting
    }

    package var description: String { "guest \(guest): \(reason)" }
}

/// What the checkpoint loop needs of a running guest. All calls come from one thread.
///
/// Order within a checkpoint: `requestSuspend` → `collectDirty` → `copyPages`… → `writeState` → (the plug's cut) →
/// `resume`. An implementation never leaves the guest suspended when the object, or its process, goes away.
package protocol ProtectedGuest: AnyObject {
    var description: GuestDescription { get }

    /// A descriptor that becomes readable when the guest ended, its host process vanished, or a suspend request was
    /// answered; then ask `ended` and `suspendOutcome`, which take the reason away.
    var eventDescriptor: Int32 { get }
    /// Whether the guest has ended by itself.
    func ended() -> GuestEnd?

    /// From here on every page the guest writes is reported by `collectDirty`. Starting again restarts from nothing
    /// dirty. Called before the first page of epoch 0 is copied, never inside a pause.
    func startDirtyTracking() throws(GuestError)
    /// Ends tracking; the guest runs at full speed again. Never fails loudly: used on every way out.
    func stopDirtyTracking()

    /// Adds the pages written since the last call to `bitmap` (never removes one) and starts afresh.
    /// Exact while suspended; while the guest runs, a page written during the call shows up in this call or the next.
    func collectDirty(into bitmap: inout PageBitmap) throws(GuestError)

    /// How many pages `collectDirty` would report; nil: that cannot be said, or not without some effort. Asked while the guest runs, a
    /// few times in an epoch.
    func dirtyCount() -> Int?

    /// Adds every page that may hold something other than zeros. The rest are holes.
    func collectPopulated(into bitmap: inout PageBitmap) throws(GuestError)
    /// Whether holes are RAM of the guest's that was never written, or no RAM at all, of which nothing is sent.
    var holesAreRAM: Bool { get }
    /// Pages of RAM that it has or may get; no more than the description's page count, which covers holes too.
    var ramPages: Int { get }

    /// Whether these pages can be copied without waiting for somebody else; if not, `eventDescriptor` becomes readable when
    /// it is worth while to ask again. With no pages: whether `writeStatic` can. Asked while the guest runs; what belongs to a
    /// suspended one is there.
    func hasPages(_ pfns: UnsafeBufferPointer<UInt64>) throws(GuestError) -> Bool

    /// Copies pages in the form in which they travel (PV page tables normalised).
    /// - Parameters:
    ///   - pfns: at most 1024, ascending.
    ///   - types: receives the type of each, same count.
    ///   - contents: receives 4096 bytes for each pfn whose type carries data, packed; room for all.
    /// - Returns: how many pages carry data.
    func copyPages(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer
    ) throws(GuestError) -> Int

    /// Whether so much became dirty at once, by no writing of the guest's, that it should be collected and sent while the
    /// guest runs before it is suspended. Asked before `requestSuspend`.
    func wantsSweep() throws(GuestError) -> Bool

    /// Asks the guest to suspend, and does not wait: a guest may take its time, and the loop has a peer to answer.
    func requestSuspend() throws(GuestError)
    /// What came of the request, nil while the guest still runs. `eventDescriptor` becomes readable when there may be
    /// an answer.
    func suspendOutcome() throws(GuestError) -> SuspendOutcome?
    /// Withdraws the request: the guest runs on, even if it has suspended meanwhile.
    func cancelSuspend()
    /// Since when the guest has been suspended (`Clock.boot`), if that was noticeably before `suspendOutcome` told; nil:
    /// just now. The longest pause counts from here.
    var suspendedSince: Instant? { get }

    /// Appends the libxc records before the memory: policies, STATIC_DATA_END, PV's info and p2m frames.
    func writeStatic(into writer: inout StreamWriter) throws(GuestError)

    /// Appends the state records of this checkpoint (TSC info, HVM params and context, or the vcpus). Suspended only.
    func writeState(into writer: inout StreamWriter) throws(GuestError)

    /// Appends the libxl records of this checkpoint's device model, which come between CHECKPOINT and CHECKPOINT_END: in each
    /// checkpoint of a guest that has one, in none of another. Suspended only.
    func writeDeviceModel(into writer: inout StreamWriter) throws(GuestError)

    /// An upper bound, in bytes, for what `writeStatic`, or `writeState` and `writeDeviceModel` together, append.
    var stateCapacity: Int { get }

    /// Lets a suspended guest run on; a running one is left alone.
    func resume() throws(GuestError)

    /// Keeps the guest from running, beside whatever else does, until `runAgain`: also when the object, or its process, goes away.
    /// Whoever takes hold of the guest next finds it so. Again is harmless.
    func standStill() throws(GuestError)
    /// Takes `standStill` back, also a predecessor's; nothing else that keeps the guest from running.
    func runAgain() throws(GuestError)

    /// The end: the guest runs, or will at once, but for `standStill`, and nothing of ours stays with it. Waits for a bounded time; nothing else
    /// is called afterwards.
    func letGo()
}

extension ProtectedGuest {
    package func standStill() throws(GuestError) {
        throw GuestError(guest: description.name, reason: "a guest of this kind is not kept from running")
    }
    package func runAgain() throws(GuestError) {}
    package func letGo() {}
    package func wantsSweep() throws(GuestError) -> Bool { false }
    package func dirtyCount() -> Int? { nil }
    package func hasPages(_ pfns: UnsafeBufferPointer<UInt64>) throws(GuestError) -> Bool { true }
    package var holesAreRAM: Bool { true }
    package var ramPages: Int { description.pageCount }
    package var suspendedSince: Instant? { nil }
    package func writeDeviceModel(into writer: inout StreamWriter) throws(GuestError) {}
}

/// What holds a guest's output until its epoch is committed (design, "A packet").
///
/// One closed epoch at a time: `cut` is only called when none is closed and unreleased. An order that failed may have
/// been carried out all the same, and may be given again: twice is as good as once.
package protocol OutputBuffer: AnyObject {
    /// Whether output was already held when this owner came: a predecessor died, and nobody may open it but by
    /// `release`, `releaseAll` or `dropAll`.
    var wasClosed: Bool { get }

    /// Ends the running epoch's output; what the guest sends from now on belongs to the next.
    /// The first cut closes an open buffer: nothing passes any more before its release.
    func cut(epoch: UInt64) throws(GuestError)
    /// Lets the output of `epoch`, the one closed by `cut(epoch:)`, go.
    func release(epoch: UInt64) throws(GuestError)
    /// Everything held, closed or running, belongs to the epoch that is cut next. Releasing later than needed is
    /// always safe; a new session over a closed plug begins with this.
    func absorb() throws(GuestError)
    /// Lets everything go and buffers no more. Only with permission to run unprotected.
    func releaseAll() throws(GuestError)
    /// Drops everything held, and all that comes. For an outdated copy.
    func dropAll() throws(GuestError)
    /// Bytes held now.
    func heldBytes() -> Int
    /// The same, with what else is known. Asked now and then, outside of a pause.
    func held() -> HeldOutput

    /// Becomes readable when it is worth while to call `attend`; -1 if never.
    var eventDescriptor: Int32 { get }
    /// Looks after what may have changed about the guest's output: an interface that came, or is being taken away. Called outside
    /// of a pause, about ten times a second.
    /// - Returns: what an operator should hear of it.
    func attend() -> [String]
    /// Output that is not held although it should be, each in words; then the guest is not protected.
    var leaks: [String] { get }

    /// The end: what is open is taken away, what is closed stays closed.
    func close()
}

extension OutputBuffer {
    package func held() -> HeldOutput { HeldOutput(bytes: heldBytes()) }
    package var eventDescriptor: Int32 { -1 }
    package func attend() -> [String] { [] }
    package var leaks: [String] { [] }
    package func close() {}
}
