import Checkpoint
import Daemon
import Glibc
import SystemSupport

/// A primary, its standby and its end, in a process of its own, which takes everything that it started with it. It is told
/// what to do line by line.
enum FailoverRole {
    static let word = "failover"

    /// - Parameters:
    ///   - program: `remusd`.
    ///   - directory: an empty one.
    static func run(program: String, in directory: String) throws {
        // Who has this started ends by closing the control socket; whatever ends that, this clears up first.
        Signals.ignore([SIGPIPE, SIGINT, SIGHUP])
        // An activated guest says there that it is ready.
        let null = open("/dev/null", O_WRONLY | O_CLOEXEC)
        dup2(null, STDOUT_FILENO)
        close(null)
        // For what is started from here on.
        setenv("REMUSD_STATE_DIR", FailoverStage.standby(in: directory).state, 1)
        setenv("REMUSD_LOG", Paths.environment("REMUSD_LOG") ?? "error", 1)
        let lines = LineChannel(Descriptor(owning: HelperProcess.control), to: "the benchmark")
        try lines.say("ready")
        while let line = try lines.hear(seconds: 86_400) {
            let words = line.split(separator: " ")
            if words.count == 3, words[0] == "lose", let loss = FailoverLoss(rawValue: String(words[1])),
                let moment = UInt64(words[2])
            {
                let sample = try lose(loss, after: moment, program, directory)
                try lines.say("sample \(sample.lost) \(sample.noticed) \(sample.running)")
            } else if words.count == 2, words[0] == "cut", let epochs = UInt64(words[1]) {
                let outcome = try cut(epochs: epochs, program, directory)
                for wrong in outcome.wrong.prefix(5) { tell(wrong) }
                try lines.say("cuts \(outcome.cuts) \(outcome.wrong.count)")
            } else {
                throw BenchError("the failover cannot '\(line)'")
            }
        }
    }

    private static func tell(_ text: String) {
        var line = "failover: \(text)\n"
        line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    private static func lose(
        _ loss: FailoverLoss,
        after milliseconds: UInt64,
        _ program: String,
        _ directory: String
    ) throws -> FailoverSample {
        let stage = try FailoverStage(program, in: directory)
        defer { stage.clear() }
        try stage.start(memory: 1 << 30, filled: 256 << 20, interval: .milliseconds(25))
        return try stage.lose(loss, after: milliseconds)
    }

    private static func cut(
        epochs: UInt64,
        _ program: String,
        _ directory: String
    ) throws -> StreamCutter.Outcome {
        let stage = try FailoverStage(program, in: directory)
        defer { stage.clear() }
        let memory = 16 << 20
        let tee = directory + "/stream"
        try stage.start(memory: memory, filled: 1 << 20, interval: .milliseconds(10), tee: tee)
        let stream = try RecordedStream(try stage.record(epochs: epochs, tee))
        return try StreamCutter(stream, memory: memory, at: stage.host).run()
    }
}
