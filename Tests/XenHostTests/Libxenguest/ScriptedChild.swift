import CXen
import Glibc
import Synchronization
import SystemSupport
import XenHost

/// A child that speaks as libxenguest does, from a script: what it writes, and what it asks in between.
final class ScriptedChild: SaveChild {
    enum Step: Sendable {
        /// Bytes of the stream.
        case write([UInt8])
        /// A question, and whether it goes on after the answer.
        case ask(CXen_save_kind, round: UInt32 = 0, dirty: Int64 = 0)
        /// After the first pass: rounds of nothing until the answer is to suspend.
        case rounds
        case tell(String)
        case garbage
        case stall
        case die
    }

    let stream: Descriptor
    let control: Descriptor
    let pid: Int32 = 4711
    private let thread: WorkerThread
    private let stop: EventFD
    private let isOver: Monitor<Bool>
    private let isJoined = Mutex(false)

    /// Begins to speak. Once the script is over, it waits to be killed.
    init(_ script: @escaping @Sendable () -> (() -> Step?)) throws {
        let (streamEnd, childStream) = try Pipe.create()
        let (controlEnd, childControl) = try UnixSocket.pairOfPacketSockets()
        try streamEnd.setNonBlocking(true)
        // So that a write never waits for ever, and a kill is always seen.
        try childStream.setNonBlocking(true)
        let stop = try EventFD()
        let isOver = Monitor(false)
        (stream, control, self.stop, self.isOver) = (streamEnd, controlEnd, stop, isOver)
        let ends = Ends(stream: childStream, control: childControl, stop: stop)
        thread = try WorkerThread("scripted") {
            ends.play(script())
            isOver.signal { $0 = true }
        }
    }

    convenience init(_ steps: [Step]) throws {
        try self.init {
            var next = 0
            return {
                defer { next += 1 }
                return next < steps.count ? steps[next] : nil
            }
        }
    }

    deinit {
        kill()
        _ = waitForEnd(milliseconds: -1)
    }

    func kill() { stop.signal() }

    func waitForEnd(milliseconds: Int32) -> Bool {
        let isFirst = isJoined.withLock { joined in
            defer { joined = true }
            return !joined
        }
        if isFirst { thread.join() }
        return isOver.withLock { $0 }
    }
}

/// The child's ends, which are closed when it ends.
private final class Ends: @unchecked Sendable {
    private var stream: Descriptor?
    private var control: Descriptor?
    private let stop: EventFD

    init(stream: Descriptor, control: Descriptor, stop: EventFD) {
        (self.stream, self.control, self.stop) = (stream, control, stop)
    }

    private struct Killed: Error {}

    func play(_ next: () -> ScriptedChild.Step?) {
        do {
            while let step = next() { try play(step) }
            try play(.stall)
        } catch {}
        (stream, control) = (nil, nil)
    }

    private func play(_ step: ScriptedChild.Step) throws {
        switch step {
        case .write(let bytes): try write(bytes)
        case .ask(let kind, let round, let dirty):
            let answer = try ask(kind, round, dirty)
            // As libxenguest: nothing else than yes goes on, but for the policy, where 0 does too.
            guard answer == 1 || kind == CXEN_SAVE_POLICY && answer == 0 else { throw Killed() }
        case .rounds:
            var round: UInt32 = 1
            while try ask(CXEN_SAVE_POLICY, round, -1) == 0 {
                if try ask(CXEN_SAVE_POLICY, round, 0) != 0 { break }
                round += 1
            }
        case .tell(let text): send(message(CXEN_SAVE_ERROR, 0, 0, text))
        case .garbage:
            if let control { _ = Glibc.send(control.raw, "?", 1, Int32(MSG_NOSIGNAL)) }
        case .stall:
            _ = Poll.wait(stop.descriptor.raw, milliseconds: -1)
            throw Killed()
        case .die: throw Killed()
        }
    }

    private func write(_ bytes: [UInt8]) throws {
        guard let stream else { throw Killed() }
        var done = 0
        while done < bytes.count {
            var entries = [
                Poll.Entry(stream.raw, readable: false, writable: true), Poll.Entry(stop.descriptor.raw),
            ]
            Poll.wait(&entries, milliseconds: -1)
            if entries[1].isReady { throw Killed() }
            let count = bytes.withUnsafeBytes {
                Glibc.write(stream.raw, $0.baseAddress?.advanced(by: done), $0.count - done)
            }
            if count < 0, errno != EAGAIN { throw Killed() }
            done += max(0, count)
        }
    }

    private func message(_ kind: CXen_save_kind, _ round: UInt32, _ dirty: Int64, _ text: String = "")
        -> CXen_save_message
    {
        var message = CXen_save_message()
        (message.kind, message.iteration, message.dirty) = (kind.rawValue, round, dirty)
        withUnsafeMutableBytes(of: &message.text) { $0.copyBytes(from: text.utf8.prefix($0.count - 1)) }
        return message
    }

    private func send(_ message: CXen_save_message) {
        guard let control else { return }
        withUnsafeBytes(of: message) {
            _ = Glibc.send(control.raw, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
    }

    private func ask(_ kind: CXen_save_kind, _ round: UInt32, _ dirty: Int64) throws -> UInt8 {
        guard let control else { throw Killed() }
        send(message(kind, round, dirty))
        var entries = [Poll.Entry(control.raw), Poll.Entry(stop.descriptor.raw)]
        Poll.wait(&entries, milliseconds: -1)
        if entries[1].isReady { throw Killed() }
        var answer: UInt8 = 0
        guard recv(control.raw, &answer, 1, 0) == 1 else { throw Killed() }
        return answer
    }
}
