import Checkpoint
import Glibc
import SystemSupport

/// One remusd process of a demo, with its output in a file.
final class DemoProcess {
    let name: String
    let log: String
    private let process: ProcessHandle
    private var end: ChildEnd?

    /// Starts this very program with `arguments`.
    init(_ name: String, _ arguments: [String], paths: Paths, log: String) throws {
        self.name = name
        self.log = log
        let output = try SmallFile.openLog(log)
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard null >= 0 else { throw SystemError("open /dev/null") }
        let input = Descriptor(owning: null)
        let ours = ["REMUSD_RUNTIME_DIR=", "REMUSD_STATE_DIR="]
        let environment = ChildProcess.environment.filter { entry in !ours.contains { entry.hasPrefix($0) } }
        let pid = try ChildProcess.spawn(
            ChildProcess.ownPath,
            arguments,
            inherited: [0: input, 1: output, 2: output],
            environment: environment + [
                "REMUSD_RUNTIME_DIR=\(paths.runtime)", "REMUSD_STATE_DIR=\(paths.state)",
            ]
        )
        process = try ProcessHandle(pid: pid)
    }

    /// How it ended, as a shell shows it; nil while it runs.
    var exitCode: Int32? {
        guard process.hasEnded else { return nil }
        if end == nil { end = ChildProcess.reap(process.pid) ?? .exited(0) }
        return end?.shellCode
    }

    /// Sends a signal and returns at once.
    func signal(_ number: Int32) { process.signal(number) }

    /// SIGKILL, and waits for the end.
    func kill() {
        process.signal(SIGKILL)
        waitForEnd()
    }

    /// Waits for the end of a process that was sent SIGKILL.
    func waitForEnd() {
        process.waitForEnd(milliseconds: 10_000)
        _ = exitCode
    }

    /// SIGTERM; SIGKILL if that is not enough.
    func stop(milliseconds: Int32 = 3000) {
        process.signal(SIGTERM)
        if !process.waitForEnd(milliseconds: milliseconds) { kill() }
        _ = exitCode
    }

    /// All it has written.
    var output: String { SmallFile.read(log) ?? "" }

    /// Waits for a line that begins with `prefix`, the last such.
    func line(beginning prefix: String, after skip: Int = 0, _ patience: DemoPatience) throws -> String {
        try patience.wait(for: "\(name) to say '\(prefix)'", atMost: .seconds(20)) {
            let lines = output.split(separator: "\n").filter { $0.hasPrefix(prefix) }
            if lines.count > skip { return lines.last.map(String.init) }
            if let exitCode {
                throw DemoError.unexpected("\(name) ended with \(exitCode) before it was ready")
            }
            return nil
        }
    }
}
