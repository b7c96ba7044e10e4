import Checkpoint
import Glibc
import SystemSupport

/// One run of one hook: a child in a session of its own, with nothing to read, ended with its children at its deadline.
struct HookProcess {
    /// How it ended.
    enum Outcome: Equatable, CustomStringConvertible {
        case ended(ChildEnd)
        /// It was ended: it was not done in time.
        case late(TimeSpan)
        /// It was ended: this daemon ends.
        case stopped
        case notStarted(String)

        var description: String {
            switch self {
            case .ended(let end): end.description
            case .late(let limit): "not done after \(limit), and ended"
            case .stopped: "ended, because remusd ends"
            case .notStarted(let reason): reason
            }
        }
    }

    let path: String
    let arguments: [String]
    let environment: [String]

    /// Runs it to its end, on this thread.
    /// - Parameters:
    ///   - deadline: in `Clock.monotonic`.
    ///   - stop: readable once it is to end.
    ///   - line: gets what it says, line by line, bounded in length and number.
    /// - Returns: how it ended, and the last line it said.
    func run(
        limit: TimeSpan,
        until deadline: UInt64,
        stop: Descriptor,
        line: @escaping (String) -> Void
    ) -> (outcome: Outcome, lastLine: String) {
        let (output, process): (Descriptor, ProcessHandle)
        do throws(SystemError) {
            (output, process) = try start()
        } catch {
            return (.notStarted("it cannot be started: \(error)"), "")
        }
        var words = HookWords(line)
        var ended: Outcome?
        while !process.hasEnded {
            let now = Clock.monotonic
            if Poll.wait(stop.raw, milliseconds: 0) {
                ended = .stopped
            } else if now >= deadline {
                ended = .late(limit)
            }
            if ended != nil {
                // Before it is reaped its number is nobody else's.
                kill(-process.pid, SIGKILL)
                break
            }
            var entries = [
                Poll.Entry(process.descriptor.raw), Poll.Entry(stop.raw),
                Poll.Entry(words.isOpen ? output.raw : -1),
            ]
            Poll.wait(&entries, milliseconds: Int32(clamping: (deadline - now) / 1_000_000 + 1))
            words.take(output)
        }
        // What it said last is there; what its children say later is nobody's.
        words.take(output)
        words.end()
        guard process.waitForEnd(milliseconds: 1000) else {
            ChildProcess.reapWhenEnded(process.pid)
            return (ended ?? .stopped, words.last)
        }
        return (ended ?? .ended(ChildProcess.reap(process.pid) ?? .exited(0)), words.last)
    }

    private func start() throws(SystemError) -> (output: Descriptor, process: ProcessHandle) {
        let raw = open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard raw >= 0 else { throw SystemError("open /dev/null") }
        let nothing = Descriptor(owning: raw)
        let pipe = try Pipe.create()
        try pipe.read.setNonBlocking(true)
        let pid = try spawn([0: nothing, 1: pipe.write, 2: pipe.write])
        do throws(SystemError) {
            return (pipe.read, try ProcessHandle(pid: pid))
        } catch {
            kill(-pid, SIGKILL)
            ChildProcess.reap(pid)
            throw error
        }
    }

    /// A hook that is being written this very moment is tried again (ETXTBSY, execve(2)).
    private func spawn(_ descriptors: [Int32: Descriptor]) throws(SystemError) -> Int32 {
        for _ in 0..<10 {
            do throws(SystemError) {
                return try ChildProcess.spawn(
                    path,
                    arguments,
                    inherited: descriptors,
                    environment: environment,
                    ownSession: true
                )
            } catch {
                guard error.code == ETXTBSY else { throw error }
                usleep(20_000)
            }
        }
        throw SystemError("start \(path)", code: ETXTBSY)
    }
}

/// What a hook says, cut into lines that are short and not too many.
struct HookWords {
    private static let longest = 1000
    private static let most = 200

    private let line: (String) -> Void
    private var rest: [UInt8] = []
    private var count = 0
    private(set) var last = ""
    /// Whether its writers are there still.
    private(set) var isOpen = true

    init(_ line: @escaping (String) -> Void) { self.line = line }

    /// Takes what is there now.
    mutating func take(_ output: Descriptor) {
        var chunk = [UInt8](repeating: 0, count: 4096)
        while isOpen {
            let count = chunk.withUnsafeMutableBytes { (bytes) -> Int? in
                do { return try Pipe.readNow(from: output, into: bytes) } catch { return 0 }
            }
            guard let count else { return }
            if count == 0 { isOpen = false }
            for byte in chunk[..<count] {
                if byte == UInt8(ascii: "\n") {
                    say()
                } else {
                    rest.append(byte)
                    if rest.count == Self.longest { say() }
                }
            }
            // Whoever writes without end is heard again after the deadline was looked at.
            if self.count > Self.most { return }
        }
    }

    mutating func end() { if !rest.isEmpty { say() } }

    private mutating func say() {
        count += 1
        if count <= Self.most {
            last = String(decoding: rest, as: UTF8.self)
            line(last)
        } else if count == Self.most + 1 {
            line("… it says more than \(Self.most) lines; the rest is left out")
        }
        rest.removeAll(keepingCapacity: true)
    }
}
