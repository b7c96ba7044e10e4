import ArgumentParser
import Daemon

/// `--cpu` and `--realtime`, of `protect`.
struct EngineThreadArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The only processor that checkpoints are taken on; remusd's other threads keep to all (docs/operations.md).",
            valueName: "n"
        )
    )
    var cpu: Int?

    @Flag(
        help: """
            Take checkpoints before everything that is not real-time (SCHED_FIFO, priority 1). Wants root, or CAP_SYS_NICE \
            (docs/operations.md).
            """
    )
    var realtime = false

    /// What was asked for, which can be had.
    var thread: EngineThread {
        get throws(EngineThread.Refusal) {
            var thread = EngineThread()
            (thread.processor, thread.isRealTime) = (cpu, realtime)
            try thread.check()
            return thread
        }
    }
}
