import Checkpoint
import SystemSupport
import XenStream

/// A Xen guest whose memory and state are read by libxenguest's own sender, `xc_domain_save` in Remus mode, in a child
/// process: the second engine (design, section 5).
///
/// What it sends goes into a shadow of the guest's memory, from where the checkpoint loop takes it; suspending, resuming and
/// watching the guest is the native engine's work. The price: the shadow, and a second copy of every dirty page in the pause.
///
/// The sender cannot take back a suspend. While the guest is suspended and the sender works, a withdrawn request, an error or
/// the child's death ends the session (`GuestError.voidsTracking`), and the next begins with all of memory. At any other time
/// an abandoned checkpoint costs nothing: what was sent stays in the shadow, and dirty.
package final class LibxenguestGuest: ProtectedGuest {
    /// Where a checkpoint stands.
    private enum Pause {
        case none
        /// A suspend is asked for, and the child has not come to it.
        case asked
        /// The guest was asked to suspend.
        case requested
        /// The guest is suspended, the child sends.
        case sending
        /// The guest is suspended, and all of the checkpoint is here.
        case suspended
    }

    private let native: any SupervisedGuest
    private let launch: () throws -> any SaveChild
    /// Longest time without any sign of life from a child that is not waiting for us; counts from the next session on.
    package var patience: TimeSpan
    private let events: EventFD
    private let readiness: Epoll
    private var child: (any SaveChild)?
    private var session: SaveSession?
    private var pause = Pause.none
    /// The guest's pages of RAM when the newest checkpoint, or the session, began.
    private var pages = 0
    package private(set) var suspendedSince: Instant?

    /// The second engine for a guest.
    /// - Parameters:
    ///   - native: the same guest as the native engine sees it; its dirty tracking is never started.
    ///   - patience: longest time without any sign of life from a child that is not waiting for us.
    ///   - launch: starts a child, which then waits to be told to begin.
    /// - Throws: if no child can be started.
    package init(
        _ native: any SupervisedGuest,
        patience: TimeSpan = .seconds(10),
        launch: @escaping () throws -> any SaveChild
    ) throws(GuestError) {
        self.native = native
        self.patience = patience
        self.launch = launch
        do throws(SystemError) {
            events = try EventFD()
            readiness = try Epoll()
            try readiness.add(events.descriptor, .readable, token: 0)
            if native.eventDescriptor >= 0 {
                try readiness.add(raw: native.eventDescriptor, .readable, token: 1)
            }
        } catch {
            throw GuestError(guest: native.description.name, reason: "\(error)")
        }
        // At once: it shows whether there is one, and the first session does not wait for it.
        child = try start()
    }

    deinit { stopDirtyTracking() }

    /// The engine's name in status and on the command line.
    package static let engineName = "libxenguest"
    /// The child's process number, if there is one: while it lives it may still touch the guest.
    package var childPID: Int32? { session?.pid ?? child?.pid }

    // MARK: The guest itself

    package var description: GuestDescription { native.description }
    package var eventDescriptor: Int32 { readiness.descriptor.raw }
    package func ended() -> GuestEnd? {
        // While no suspend is awaited a signal has done its work when the loop has come round.
        if pause == .none { events.drain() }
        return native.ended()
    }
    package var stateCapacity: Int { native.stateCapacity }
    package var holesAreRAM: Bool { native.holesAreRAM }
    package var ramPages: Int { native.ramPages }

    package func letGo() {
        child = nil
        stopDirtyTracking()
        native.letGo()
    }

    // MARK: Tracking

    package func startDirtyTracking() throws(GuestError) {
        try endSession()
        let child: any SaveChild
        if let spare = self.child { child = spare } else { child = try start() }
        self.child = nil
        native.forgetDisturbance()
        pages = try native.countPages()
        // Nothing is waited for. Log-dirty is on before the first page is read; until the first pass is over every page counts
        // as dirty, and the initial sync follows that pass.
        do throws(SystemError) {
            session = try SaveSession(
                child,
                guest: description,
                stateCapacity: stateCapacity,
                patience: patience,
                events: events
            )
        } catch {
            throw failure("\(error)", voids: false)
        }
    }

    package func stopDirtyTracking() {
        // A child that hangs on is waited for before the next begins.
        try? endSession()
        native.endLogDirty()
    }

    package func collectDirty(into bitmap: inout PageBitmap) throws(GuestError) {
        let session = try working()
        if pause == .none { session.makeRound(waiting: 200_000_000) }
        session.collect(into: &bitmap)
    }

    package func collectPopulated(into bitmap: inout PageBitmap) throws(GuestError) {
        // As many pages as it has RAM, from the first on: an estimate, and it need be no more. What lies elsewhere becomes dirty
        // when it comes, and what is not there comes as absent.
        bitmap.insert(0..<min(description.pageCount, try native.countPages()))
    }

    package func hasPages(_ pfns: UnsafeBufferPointer<UInt64>) throws(GuestError) -> Bool {
        let session = try working()
        if session.hasPages(pfns) { return true }
        if session.isStalled { session.fail("it has not gone on for \(patience)") }
        return false
    }

    package func copyPages(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeMutableBufferPointer<PageType>,
        into contents: UnsafeMutableRawPointer
    ) throws(GuestError) -> Int {
        let session = try working()
        guard session.wait(for: { shadow, _ in shadow.hasSeen(pfns) }) else { throw lost() }
        return session.withShadow { $0.copy(pfns, types: types, into: contents) }
    }

    // MARK: Suspending

    package func requestSuspend() throws(GuestError) {
        let session = try working()
        guard pause == .none else { throw failure("a suspend is asked for twice", voids: false) }
        pause = .asked
        session.wantSuspend(true)
    }

    package func suspendOutcome() throws(GuestError) -> SuspendOutcome? {
        // First: what comes after it shows in what follows, or signals again.
        events.drain()
        // Withdrawn meanwhile: its session is over.
        if pause == .none { return .refused }
        guard let session, session.failure == nil else {
            if pause == .requested { native.cancelSuspend() }
            if pause == .asked || pause == .requested { pause = .none }
            throw lost()
        }
        if pause == .asked, session.question == .suspend {
            pause = .requested
            do throws(GuestError) {
                try native.requestSuspend()
            } catch {
                forgetRequest()
                throw error
            }
        }
        if pause == .requested, let outcome = try nativeOutcome() {
            guard outcome == .suspended else {
                // The child goes on waiting where it is; the next request finds it there.
                forgetRequest()
                return outcome
            }
            suspendedSince = Instant(nanoseconds: Clock.boot)
            pause = .sending
            if let reason = try disturbance() {
                session.fail(reason)
                throw lost()
            }
            session.answer(.suspend, 1)
        }
        if pause == .sending, session.question == .postcopy { pause = .suspended }
        return pause == .suspended ? .suspended : nil
    }

    /// Why libxenguest's bitmap of dirty pages cannot be trusted, now that the guest is suspended; nil if it can.
    private func disturbance() throws(GuestError) -> String? {
        if native.isDisturbed {
            return "another tool suspended the guest, and may have taken dirty pages away"
        }
        let now = try native.countPages()
        // Pages that come and go are in nobody's log, and libxenguest looks at none but those (stream-v2.md, 16.3).
        guard now == pages else { return "the guest's memory went from \(pages) to \(now) pages" }
        return nil
    }

    private func nativeOutcome() throws(GuestError) -> SuspendOutcome? {
        do throws(GuestError) {
            return try native.suspendOutcome()
        } catch {
            forgetRequest()
            throw error
        }
    }

    package func cancelSuspend() {
        switch pause {
        case .none: return
        case .asked:
            if session?.isStalled == true { session?.fail("it has gone silent") }
        case .requested: native.cancelSuspend()
        case .sending:
            session?.fail("the guest was suspended for too long while it worked")
            native.cancelSuspend()
        case .suspended:
            native.cancelSuspend()
            session?.answer(.postcopy, 1)
        }
        forgetRequest()
    }

    package func standStill() throws(GuestError) { try native.standStill() }
    package func runAgain() throws(GuestError) { try native.runAgain() }

    package func resume() throws(GuestError) {
        switch pause {
        case .none: return
        case .asked, .requested: cancelSuspend()
        case .sending, .suspended:
            if pause == .sending { session?.fail("the guest was resumed while it worked") }
            try native.resume()
            session?.answer(.postcopy, 1)
            forgetRequest()
        }
    }

    private func forgetRequest() {
        pause = .none
        suspendedSince = nil
        session?.wantSuspend(false)
        events.drain()
    }

    // MARK: Records

    package func writeStatic(into writer: inout StreamWriter) throws(GuestError) {
        let session = try working()
        guard session.wait(for: { shadow, _ in shadow.hasStatic }) else { throw lost() }
        session.appendStatic(to: &writer)
    }

    package func writeState(into writer: inout StreamWriter) throws(GuestError) {
        let session = try working()
        guard pause == .suspended else { throw failure("its state is asked for while it runs", voids: true) }
        session.appendState(to: &writer)
    }

    // MARK: The child

    private func start() throws(GuestError) -> any SaveChild {
        do {
            return try launch()
        } catch {
            throw failure("its \(Self.engineName) child cannot be started: \(error)", voids: false)
        }
    }

    /// Ends the child, if there is one; nothing of it touches the guest afterwards.
    private func endSession() throws(GuestError) {
        guard let session else { return }
        // A guest that is suspended already is resumed by whoever waits for that.
        if pause == .asked || pause == .requested { cancelSuspend() }
        guard session.end() else {
            throw failure("the \(Self.engineName) child \(session.pid) does not end", voids: false)
        }
        self.session = nil
        // Killed, it left log-dirty on.
        native.endLogDirty()
    }

    private func working() throws(GuestError) -> SaveSession {
        guard let session, session.failure == nil else { throw lost() }
        return session
    }

    /// Why there is no session to go on with.
    private func lost() -> GuestError {
        failure("\(Self.engineName): \(session?.failure ?? "no session")", voids: true)
    }

    private func failure(_ reason: String, voids: Bool) -> GuestError {
        GuestError(guest: description.name, reason: reason, voidsTracking: voids)
    }
}
