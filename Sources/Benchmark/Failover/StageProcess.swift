import Daemon
import Glibc
import SystemSupport

/// A `remusd` process of a stage, killed at the latest when its owner is done with it.
final class StageProcess {
    private let pid: Int32
    private var isReaped = false

    /// Starts it; its errors go where ours go.
    init(
        _ program: String,
        _ arguments: [String],
        _ paths: Paths,
        inherited: [Int32: Descriptor] = [:]
    ) throws {
        let raw = open("/dev/null", O_RDWR | O_CLOEXEC)
        guard raw >= 0 else { throw SystemError("open /dev/null") }
        let null = Descriptor(owning: raw)
        var descriptors = inherited
        descriptors[0] = null
        descriptors[1] = null
        let ours = ["REMUSD_RUNTIME_DIR=", "REMUSD_STATE_DIR="]
        let environment = ChildProcess.environment.filter { entry in !ours.contains { entry.hasPrefix($0) } }
        pid = try ChildProcess.spawn(
            program,
            arguments,
            inherited: descriptors,
            environment: environment + [
                "REMUSD_RUNTIME_DIR=\(paths.runtime)", "REMUSD_STATE_DIR=\(paths.state)",
            ]
        )
    }

    /// Sends a signal and returns at once.
    func signal(_ number: Int32) {
        if !isReaped { kill(pid, number) }
    }

    /// SIGKILL, and waits for its end.
    func end() {
        guard !isReaped else { return }
        kill(pid, SIGKILL)
        ChildProcess.reap(pid)
        isReaped = true
    }

    deinit { end() }
}
