import Checkpoint
import Glibc
import SystemSupport

/// Another program, run to its end or to a deadline, in a session and process group of its own, which ends with it.
struct BoundedProgram {
    /// How it ended.
    struct Ending {
        let how: ChildEnd
        let output: [UInt8]
        /// Its last line on standard error; empty if it wrote none.
        let lastWords: String
    }

    /// Bytes of standard output that are taken.
    static let outputLimit = 64 << 10
    private static let wordsLimit = 4096
    /// Reads that empty a pipe, with some to spare.
    private static let drains = 16

    /// Runs `path`. `input` must be less than what a pipe holds at least, 4096 bytes (pipe(7)).
    /// - Parameter deadline: in `Clock.monotonic`.
    /// - Throws: `ArbiterError` if it cannot be started, says too much, or was not done in time.
    static func run(
        _ path: String,
        _ arguments: [String],
        environment: [String],
        input: [UInt8],
        until deadline: UInt64
    ) throws(ArbiterError) -> Ending {
        do {
            let childInput = try filledPipe(input)
            let (output, childOutput) = try Pipe.create()
            let (errors, childErrors) = try Pipe.create()
            try output.setNonBlocking(true)
            try errors.setNonBlocking(true)
            let pid = try ChildProcess.spawn(
                path,
                arguments,
                inherited: [0: childInput, 1: childOutput, 2: childErrors],
                environment: environment,
                ownSession: true
            )
            return try Self(path: path, pid: pid, output: output, errors: errors).finish(until: deadline)
        } catch {
            throw error as? ArbiterError ?? ArbiterError("\(error)")
        }
    }

    /// The reading end of a pipe that holds `input`, and nobody writes to any more.
    private static func filledPipe(_ input: [UInt8]) throws(SystemError) -> Descriptor {
        let (reading, writing) = try Pipe.create()
        let count = input.withUnsafeBytes { write(writing.raw, $0.baseAddress, $0.count) }
        guard count == input.count else { throw SystemError("write to a pipe", code: EIO) }
        return reading
    }

    private let path: String
    private let pid: Int32
    private let output: Descriptor
    private let errors: Descriptor

    private func finish(until deadline: UInt64) throws(ArbiterError) -> Ending {
        var said: [UInt8] = []
        var words: [UInt8] = []
        var isTooMuch: Bool { said.count > Self.outputLimit }
        var isLate = false
        let process: ProcessHandle
        do {
            process = try ProcessHandle(pid: pid)
        } catch {
            end()
            throw ArbiterError("\(error)")
        }
        while !process.hasEnded {
            let now = Clock.monotonic
            isLate = now >= deadline
            if isLate || isTooMuch { break }
            var entries = [
                Poll.Entry(process.descriptor.raw), Poll.Entry(output.raw), Poll.Entry(errors.raw),
            ]
            Poll.wait(&entries, milliseconds: Int32(min((deadline - now) / 1_000_000 + 1, 1000)))
            let spoke = take(output, &said, limit: Self.outputLimit + 1)
            let grumbled = take(errors, &words, limit: Self.wordsLimit)
            // A pipe that the program has closed is always ready.
            if !spoke, !grumbled { process.waitForEnd(milliseconds: 5) }
        }
        let how = end()
        // What was in the pipes when it ended. Somebody who got away from the group may hold them, and go on.
        for _ in 0..<Self.drains where !take(output, &said, limit: Self.outputLimit + 1) { break }
        for _ in 0..<Self.drains where !take(errors, &words, limit: Self.wordsLimit) { break }
        if isLate { throw ArbiterError("\(path) was not done in time and was ended\(Self.after(words))") }
        guard !isTooMuch else {
            throw ArbiterError("\(path) says more than \(Self.outputLimit) bytes and was ended")
        }
        return Ending(how: how, output: said, lastWords: Self.lastLine(words))
    }

    /// Ends the whole group, while the number cannot be somebody else's yet, and takes the status.
    @discardableResult
    private func end() -> ChildEnd {
        kill(-pid, SIGKILL)
        return ChildProcess.reap(pid) ?? .signalled(SIGKILL)
    }

    /// Takes what is there; keeps the last `limit` bytes. Returns whether there was anything.
    private func take(_ source: Descriptor, _ target: inout [UInt8], limit: Int) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: 16384, alignment: 16) { buffer in
            guard let count = try? Pipe.readNow(from: source, into: buffer), count > 0 else { return false }
            target += buffer[..<count]
            if target.count > limit { target.removeFirst(target.count - limit) }
            return true
        }
    }

    private static func lastLine(_ words: [UInt8]) -> String {
        let lines = String(decoding: words, as: UTF8.self).split { $0.isNewline }
        let line = lines.last { !$0.allSatisfy(\.isWhitespace) } ?? ""
        return String(line.filter { !$0.isASCII || $0.asciiValue.map { $0 >= 32 } == true }.prefix(300))
    }

    static func after(_ words: [UInt8]) -> String {
        let line = lastLine(words)
        return line.isEmpty ? ", and said nothing" : ": \(line)"
    }
}
