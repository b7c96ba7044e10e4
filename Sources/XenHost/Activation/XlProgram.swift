import Checkpoint
import Glibc
import SystemSupport

/// Xen's command line tool, run as a child: bounded in time, and with what it said last when it fails.
package struct XlProgram: Sendable {
    /// How long to wait, in seconds.
    package struct Limits: Sendable {
        /// For a command that answers at once.
        package var answer = 60
        /// For one byte more of an image to be taken.
        package var stall = 60
        /// For the rest of a restore once the image is with it: device models, hotplug scripts.
        package var restore = 300

        package init(answer: Int = 60, stall: Int = 60, restore: Int = 300) {
            self.answer = answer
            self.stall = stall
            self.restore = restore
        }
    }

    /// Where xl lies; nil if this host has none.
    package let path: String?
    let limits: Limits

    /// - Parameter path: where xl lies; nil looks for it.
    package init(path: String? = nil, limits: Limits = Limits()) {
        self.path = path ?? Self.find()
        self.limits = limits
    }

    /// Looks for xl on PATH and where root's programs lie.
    private static func find() -> String? {
        let listed = getenv("PATH").map { String(cString: $0) } ?? ""
        let places = listed.split(separator: ":").map(String.init) + ["/usr/local/sbin", "/usr/sbin"]
        return places.map { $0 + "/xl" }.first { access($0, X_OK) == 0 }
    }

    /// The configuration of the file at `path` as xl reads it, in libxl's JSON form.
    func read(configuration path: String) throws(XenError) -> [UInt8] {
        let run = try RunningXl(program: self.path, ["create", "--dryrun", path], keepsOutput: true)
        try run.finish(within: limits.answer)
        return run.output
    }

    /// The domain `domid` as `xl list -l` prints it: JSON, libxl's answer about what is true now.
    func describe(_ domid: UInt32) throws(XenError) -> [UInt8] {
        let run = try RunningXl(program: path, ["list", "-l", "\(domid)"], keepsOutput: true)
        try run.finish(within: limits.answer)
        return run.output
    }

    /// Writes a domain's memory where xl does.
    func dumpCore(_ domid: UInt32, name: String) throws(XenError) {
        let run = try RunningXl(
            program: path,
            ["dump-core", "\(domid)", "/var/lib/xen/dump/\(name)-\(domid).core"]
        )
        try run.finish(within: limits.restore)
    }

    func unpause(_ domid: UInt32) throws(XenError) { try order(["unpause", "\(domid)"]) }
    func destroy(_ domid: UInt32) throws(XenError) { try order(["destroy", "\(domid)"]) }

    /// The name that the configuration of a file gives its guest.
    /// - Throws: where xl cannot read it.
    package func name(configuration path: String) throws(XenError) -> String {
        guard let name = DomainConfiguration(json: try read(configuration: path))?.name else {
            throw XenError("xl does not say which guest \(path) is of")
        }
        return name
    }

    /// Makes the guest of a configuration anew, and lets it run.
    package func create(configuration: String) throws(XenError) {
        try RunningXl(program: path, ["create", configuration]).finish(within: limits.restore)
    }

    private func order(_ arguments: [String]) throws(XenError) {
        try RunningXl(program: path, arguments).finish(within: limits.answer)
    }

    /// Restores a guest from the xl image that `write` hands out, and leaves it paused.
    /// - Parameter configuration: the file that says what the guest may use here; nil for what the image itself says.
    func restore(
        configuration: String?,
        _ write: (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws(XenError) {
        // A descriptor's name in /proc needs no file that could be left behind, and no /dev/fd.
        let run = try RunningXl(
            program: path,
            ["restore", "-p"] + (configuration.map { [$0] } ?? []) + ["/proc/self/fd/3"],
            inputAt: 3
        )
        do {
            try write { try run.feed($0, stall: limits.stall) }
        } catch {
            // What it says of its own end is worth more than that its pipe broke.
            if error is BrokenPipe { try run.finish(within: limits.answer) }
            // With its input whole it would go on.
            run.end()
            throw error as? XenError ?? XenError("the image cannot be read: \(error)")
        }
        try run.finish(within: limits.restore)
    }

}

/// xl ended, or closed its input, before it had the whole image.
private struct BrokenPipe: Error {}

/// One run of xl. Ended with all its children when it is not finished properly.
private final class RunningXl {
    /// Bytes of its last words that are kept.
    private static let kept = 4096
    /// Bytes of output that are kept at most.
    private static let outputLimit = 4 << 20

    private let name: String
    private let pid: Int32
    private let process: ProcessHandle
    private let words: Descriptor
    private let out: Descriptor?
    /// Where its input is written to, without blocking. The other end is the child's alone: it notices when this process
    /// is gone, and this one when the child is.
    private var input: Descriptor?
    private var said: [UInt8] = []
    private var isReaped = false
    /// What it wrote to standard output, if that was wanted.
    private(set) var output: [UInt8] = []

    /// - Parameters:
    ///   - inputAt: the number of the descriptor at which it shall find what `feed` writes.
    ///   - keepsOutput: keep what it writes to standard output.
    init(
        program: String?,
        _ arguments: [String],
        inputAt: Int32? = nil,
        keepsOutput: Bool = false
    ) throws(XenError) {
        guard let program else { throw XenError("this host has no xl: install Xen's tools (xen-utils)") }
        name = "xl \(arguments[0])"
        do {
            let errors = try Pipe.create()
            let answers = keepsOutput ? try Pipe.create() : nil
            let channel = inputAt == nil ? nil : try Pipe.create()
            var inherited: [Int32: Descriptor] = [1: answers?.write ?? errors.write, 2: errors.write]
            if let inputAt { inherited[inputAt] = channel?.read }
            pid = try ChildProcess.spawn(program, arguments, inherited: inherited, ownSession: true)
            try errors.read.setNonBlocking(true)
            try answers?.read.setNonBlocking(true)
            try channel?.write.setNonBlocking(true)
            words = errors.read
            out = answers?.read
            input = channel?.write
            process = try ProcessHandle(pid: pid)
        } catch { throw XenError("\(error)") }
    }

    deinit { end() }

    /// Ends it and everything that it started.
    func end() {
        guard !isReaped else { return }
        kill(-pid, SIGKILL)
        ChildProcess.reap(pid)
        isReaped = true
    }

    /// Ends its input and waits for its end.
    /// - Throws: if it fails, or is not done after `seconds`: then it is ended.
    func finish(within seconds: Int) throws(XenError) {
        input = nil
        let deadline = Clock.monotonic + UInt64(seconds) * 1_000_000_000
        while !process.hasEnded {
            listen(milliseconds: 100)
            guard Clock.monotonic < deadline else {
                end()
                throw XenError("\(name) was not done after \(seconds) s and was ended\(lastWords)")
            }
        }
        // What an ended process said is there to be read; its children may keep the pipe open.
        while listen(milliseconds: 0) {}
        let end = ChildProcess.reap(pid)
        isReaped = true
        switch end {
        case .exited(0)?: return
        case .exited(let code)?: throw XenError("\(name) failed with \(code)\(lastWords)")
        case .signalled(let signal)?: throw XenError("\(name) was ended by signal \(signal)\(lastWords)")
        case nil: throw XenError("nobody knows how \(name) ended\(lastWords)")
        }
    }

    /// Writes all of `piece` to its input.
    func feed(_ piece: UnsafeRawBufferPointer, stall: Int) throws {
        guard let channel = input else { throw BrokenPipe() }
        var done = 0
        var deadline = Clock.monotonic + UInt64(stall) * 1_000_000_000
        while done < piece.count {
            let count = write(channel.raw, piece.baseAddress?.advanced(by: done), piece.count - done)
            if count > 0 {
                done += count
                deadline = Clock.monotonic + UInt64(stall) * 1_000_000_000
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN: break
            case EPIPE: throw BrokenPipe()
            default: throw SystemError("write the image to \(name)")
            }
            listen(milliseconds: 100, feeding: true)
            // A child of it may keep its input open.
            if process.hasEnded { throw BrokenPipe() }
            if Clock.monotonic >= deadline {
                end()
                throw XenError("\(name) took nothing of the image for \(stall) s and was ended\(lastWords)")
            }
        }
    }

    /// Reads what it says. Returns whether there was anything.
    @discardableResult
    private func listen(milliseconds: Int32, feeding: Bool = false) -> Bool {
        var entries = [
            Poll.Entry(process.descriptor.raw), Poll.Entry(words.raw), Poll.Entry(out?.raw ?? -1),
            Poll.Entry(feeding ? input?.raw ?? -1 : -1, readable: false, writable: true),
        ]
        Poll.wait(&entries, milliseconds: milliseconds)
        let spoke = take(words, &said, keep: Self.kept)
        let wrote = out.map { take($0, &output, keep: Self.outputLimit) } ?? false
        // A pipe whose writers are gone is always ready: what waits for the process must not spin on it.
        if !spoke, !wrote, milliseconds > 0, !feeding { process.waitForEnd(milliseconds: 10) }
        return spoke || wrote
    }

    private func take(_ source: Descriptor, _ target: inout [UInt8], keep: Int) -> Bool {
        var chunk = [UInt8](repeating: 0, count: 16384)
        let count = read(source.raw, &chunk, chunk.count)
        guard count > 0 else { return false }
        target += chunk[..<count]
        if target.count > keep { target.removeFirst(target.count - keep) }
        return true
    }

    /// Its last lines, on one.
    private var lastWords: String {
        let lines = String(decoding: said, as: UTF8.self).split { $0.isNewline }.map {
            String($0.filter { !$0.isASCII || $0.asciiValue.map { $0 >= 32 } == true })
        }
        guard !lines.isEmpty else { return ", and said nothing" }
        return ": " + lines.suffix(6).joined(separator: " | ")
    }
}
