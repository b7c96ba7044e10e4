import Checkpoint
import Glibc
import SystemSupport
import XenStream

/// One child and what it has sent: a thread of its own drains the stream at memory speed into the shadow and takes the
/// child's questions; the checkpoint loop answers them.
///
/// A question is seen only when everything that the child wrote before it is in the shadow: the child waits for the answer
/// meanwhile, so what is in the pipe then is all of it.
final class SaveSession: Sendable {
    private struct State {
        let shadow: SaveShadow
        /// What the child waits for.
        var question: SaveMessage.Question?
        /// A suspend is asked for: rounds end, and the next checkpoint begins.
        var wantsSuspend = false
        /// Pages that have not come yet are waited for.
        var wantsPages = false
        /// Why nothing more will come, nil while it may.
        var failure: String?
        /// The first error that libxenguest told of.
        var error: String?
        var threadIsJoined = false
        /// When the last byte or message came (`Clock.monotonic`).
        var lastSign = Clock.monotonic
    }

    private let state: Monitor<State>
    private let child: ChildBox
    private let stream: Descriptor, control: Descriptor
    private let events: EventFD
    private let patience: TimeSpan
    private let thread: WorkerThread

    /// Unchecked: the child is asked by the checkpoint loop's thread only.
    private final class ChildBox: @unchecked Sendable {
        let child: any SaveChild
        init(_ child: any SaveChild) { self.child = child }
    }

    /// Begins to listen to `child`, which may have something to say already. `events` is signalled whenever a suspend that is
    /// asked for moved on.
    init(
        _ child: any SaveChild,
        guest: GuestDescription,
        stateCapacity: Int,
        patience: TimeSpan,
        events: EventFD
    ) throws(SystemError) {
        let shadow = try SaveShadow(
            kind: guest.kind,
            pageCount: guest.pageCount,
            stateCapacity: stateCapacity
        )
        let state = Monitor(State(shadow: shadow))
        let (stream, control) = (child.stream, child.control)
        var budgets = ReaderBudgets()
        budgets.bufferedLength = UInt32(clamping: stateCapacity)
        let options = ReaderOptions(start: .libxc, lifecycle: .checkpointed, budgets: budgets)
        (self.state, self.stream, self.control, self.events) = (state, stream, control, events)
        self.patience = patience
        self.child = ChildBox(child)
        thread = try WorkerThread("libxenguest") {
            var drain = Drain(
                state: state,
                stream: stream,
                control: control,
                events: events,
                options: options
            )
            drain.run()
        }
    }

    /// Ends the child and waits for its thread, so that nothing of it touches the guest any more.
    /// - Returns: false if it has not ended after some seconds; it is killed, and will.
    func end() -> Bool {
        child.child.kill()
        let hasEnded = child.child.waitForEnd(milliseconds: 5000)
        // The thread sees the end of both channels, also when the child hangs on to them.
        let isJoined = state.withLock { state in
            state.failure = state.failure ?? "it was ended"
            defer { state.threadIsJoined = true }
            return state.threadIsJoined
        }
        control.shutDown()
        if !isJoined { thread.join() }
        return hasEnded
    }

    /// The child's process number.
    var pid: Int32 { child.child.pid }

    // MARK: What the checkpoint loop asks

    /// Why the child is of no use any more; nil while it may be.
    var failure: String? { state.withLock { $0.failure } }

    /// What the child waits for.
    var question: SaveMessage.Question? { state.withLock { $0.failure == nil ? $0.question : nil } }

    /// The child is of no use any more: it is killed, and not waited for.
    func fail(_ reason: String) {
        child.child.kill()
        state.withLock { $0.failure = $0.failure ?? reason }
    }

    /// Answers the question at hand if it is `question`.
    func answer(_ question: SaveMessage.Question, _ answer: UInt8) {
        state.withLock { state in
            guard state.question == question else { return }
            if question == .suspend, answer == 1 { state.shadow.beginPause() }
            state.question = nil
            state.lastSign = Clock.monotonic
            Self.send(answer, control)
        }
    }

    /// Lets the child go on to its next suspend, or no further.
    func wantSuspend(_ wanted: Bool) {
        state.withLock { state in
            state.wantsSuspend = wanted
            guard wanted, let question = state.question else { return }
            switch question {
            case .policy, .checkpoint:
                state.question = nil
                state.lastSign = Clock.monotonic
                Self.send(1, control)
            case .ready, .suspend, .postcopy, .deviceModel: break
            }
        }
    }

    /// If the child waits between two rounds: lets it make one, and waits a little for its end, so that there is
    /// something to collect.
    func makeRound(waiting nanoseconds: UInt64) {
        let isAsked = state.withLock { state in
            guard case .policy = state.question else { return false }
            state.question = nil
            state.lastSign = Clock.monotonic
            Self.send(0, control)
            return true
        }
        guard isAsked else { return }
        _ = state.wait(until: Clock.monotonic + nanoseconds) { state in
            state.question != nil || state.failure != nil ? true : nil
        }
    }

    /// Works with what has come.
    func withShadow<R>(_ body: (SaveShadow) -> R) -> R { state.withLock { body($0.shadow) } }

    /// Adds what came since the last call.
    func collect(into bitmap: inout PageBitmap) { state.withLock { $0.shadow.collect(into: &bitmap) } }

    /// Whether these pages have come; if not, the next that come signal.
    func hasPages(_ pfns: UnsafeBufferPointer<UInt64>) -> Bool {
        state.withLock { state in
            state.wantsPages = !(state.shadow.hasStatic && state.shadow.hasSeen(pfns))
            return !state.wantsPages
        }
    }

    /// Appends the records before the memory.
    func appendStatic(to writer: inout StreamWriter) {
        state.withLock { writer.appendRaw($0.shadow.staticBytes) }
    }

    /// Appends the state of the newest checkpoint.
    func appendState(to writer: inout StreamWriter) {
        state.withLock { writer.appendRaw($0.shadow.stateBytes) }
    }

    /// Waits until `isThere`, or the child is of no use, or has been without a sign of life for `patience`.
    /// - Returns: whether it is there.
    func wait(for isThere: (SaveShadow, SaveMessage.Question?) -> Bool) -> Bool {
        while true {
            let seen = state.withLock { $0.lastSign }
            let result: Bool? = state.wait(until: max(seen, Clock.monotonic) + patience.nanoseconds) {
                state in
                if isThere(state.shadow, state.question) { return true }
                return state.failure != nil ? false : nil
            }
            if let result { return result }
            guard state.withLock({ $0.lastSign }) > seen else {
                fail("it has not gone on for \(patience)")
                return false
            }
        }
    }

    /// Whether the child works and has not been heard of for `patience`.
    var isStalled: Bool {
        state.withLock { $0.question == nil && Clock.monotonic > $0.lastSign + patience.nanoseconds }
    }

    fileprivate static func send(_ answer: UInt8, _ control: Descriptor) {
        var byte = answer
        _ = Glibc.send(control.raw, &byte, 1, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
    }
}

extension SaveSession {
    /// The draining thread's own things.
    private struct Drain: ~Copyable {
        let state: Monitor<State>
        let stream: Descriptor, control: Descriptor
        let events: EventFD
        var reader: StreamReader
        let buffer: UnsafeMutableRawBufferPointer
        let packet: UnsafeMutableRawBufferPointer
        var streamHasEnded = false

        init(
            state: Monitor<State>,
            stream: Descriptor,
            control: Descriptor,
            events: EventFD,
            options: ReaderOptions
        ) {
            (self.state, self.stream, self.control, self.events) = (state, stream, control, events)
            reader = StreamReader(options: options)
            buffer = .allocate(byteCount: 1 << 20, alignment: 4096)
            packet = .allocate(byteCount: SaveMessage.size + 1, alignment: 8)
        }

        deinit {
            buffer.deallocate()
            packet.deallocate()
        }

        mutating func run() {
            var entries = [Poll.Entry(stream.raw), Poll.Entry(control.raw)]
            while true {
                Poll.wait(&entries, milliseconds: -1)
                if let reason = entries[1].isReadable ? takeMessage() : drainStream() {
                    return finish(reason)
                }
                if streamHasEnded { entries[0] = Poll.Entry(-1) }
            }
        }

        private func finish(_ reason: String) {
            let wakes = state.signal { state in
                state.failure = state.failure ?? state.error ?? reason
                return state.wantsSuspend || state.wantsPages
            }
            if wakes { events.signal() }
        }

        /// Feeds what is in the pipe to the shadow. Returns why nothing more will come.
        private mutating func drainStream() -> String? {
            while !streamHasEnded {
                let count: Int?
                do throws(SystemError) {
                    count = try Pipe.readNow(from: stream, into: buffer)
                } catch {
                    return error.description
                }
                guard let count else { return nil }
                // The child says why over its socket, which ends a moment later.
                streamHasEnded = count == 0
                if let reason = feed(UnsafeRawBufferPointer(rebasing: buffer[..<count])) { return reason }
            }
            return nil
        }

        private mutating func feed(_ bytes: UnsafeRawBufferPointer) -> String? {
            let (state, events) = (state, events)
            return state.signal { state in
                if state.failure != nil { return "it was ended" }
                var shadow = state.shadow
                if state.wantsPages { events.signal() }
                state.wantsPages = false
                state.lastSign = Clock.monotonic
                do throws(StreamError) {
                    try reader.feed(bytes, to: &shadow)
                } catch {
                    return "its stream is wrong: \(error)"
                }
                return shadow.problem
            }
        }

        /// Takes one message. Returns why nothing more will come.
        private mutating func takeMessage() -> String? {
            let count: Int?
            do throws(SystemError) {
                count = try control.receiveNow(into: packet)
            } catch {
                return error.description
            }
            guard let count else { return nil }
            // What was written before it comes first.
            if let reason = drainStream() { return reason }
            guard count > 0 else { return "it ended" }
            guard let message = SaveMessage(UnsafeRawBufferPointer(rebasing: packet[..<count])) else {
                return "it says what makes no sense"
            }
            switch message.content {
            case .error(let text):
                state.withLock { $0.error = $0.error ?? text }
                return nil
            case .done(let result, let code):
                return result == 0 ? "it ended its session" : "it failed: \(String(cString: strerror(code)))"
            case .question(let question): return take(question)
            }
        }

        private func take(_ question: SaveMessage.Question) -> String? {
            var wakes = false
            let reason: String? = state.signal { state in
                state.lastSign = Clock.monotonic
                if state.failure != nil { return "it was ended" }
                guard state.question == nil, Self.isInOrder(question, state.shadow) else {
                    return "it asks out of order: \(question)"
                }
                switch question {
                // A round that is only begun is made; between two of them the checkpoint loop decides.
                case .policy(_, .some): SaveSession.send(state.wantsSuspend ? 1 : 0, control)
                case .policy where state.wantsSuspend, .checkpoint where state.wantsSuspend:
                    SaveSession.send(1, control)
                // PV and PVH have no device model that writes memory; a session is there to begin.
                case .deviceModel, .ready: SaveSession.send(1, control)
                case .policy(_, nil), .checkpoint, .suspend, .postcopy: state.question = question
                }
                wakes = state.wantsSuspend && state.question != nil
                return nil
            }
            if wakes { events.signal() }
            return reason
        }

        /// What a child may ask when.
        private static func isInOrder(_ question: SaveMessage.Question, _ shadow: SaveShadow) -> Bool {
            switch question {
            case .deviceModel: true
            case .ready, .policy: !shadow.isInPause && !shadow.hasCheckpoint
            case .suspend, .checkpoint: !shadow.isInPause
            case .postcopy: shadow.isWhole
            }
        }
    }
}
