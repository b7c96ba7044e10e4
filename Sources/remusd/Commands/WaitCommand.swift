import ArgumentParser
import Checkpoint
import Daemon
import Glibc
import SystemSupport

/// `remusd wait`
struct WaitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Wait until a guest is protected, or has got elsewhere.",
        discussion: """
            For scripts: looks 20 times a second and returns as soon as it is so.

              protected   the primary on this host says that a failure now loses nothing
              standby     the standby on this host holds an image that is kept up to date
              unacknowledged  the same, and the other side is an xl (docs/interop.md)
              peer-lost   either of them has lost the other
              active      the guest runs at the standby on this host
              alone       the primary on this host goes on without its standby, output released
              outdated    a copy on this host is older than one that ran on elsewhere

            EXIT CODES
              0   it is so
              64  the command line makes no sense
              75  not within --timeout; says the last state seen and its reasons
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            """
    )

    @Argument(help: "The guest. It need not be known yet.", transform: GuestName.argument)
    var name: GuestName

    @Option(name: .customLong("for"), help: ArgumentHelp("What to wait for.", valueName: "goal"))
    var goal: WaitGoal

    @Option(help: "How long to wait at most, like 500ms or 5m (default: 30s).", transform: TimeSpan.argument)
    var timeout: TimeSpan = .seconds(30)

    func run() throws {
        let paths = try Console.paths(for: name)
        let end = Clock.monotonic &+ timeout.nanoseconds
        while true {
            let report = try StatusCollector(paths: paths, timeout: .seconds(1)).collect(name)
            if goal.isReached(by: report.statuses) { return }
            guard Clock.monotonic < end else {
                throw Console.failure(Self.explain(name, goal, timeout, report), code: Exit.tryAgain)
            }
            usleep(50_000)
        }
    }

    private static func explain(
        _ name: GuestName,
        _ goal: WaitGoal,
        _ timeout: TimeSpan,
        _ report: StatusReport
    ) -> String {
        var text = "\(name) is not \(goal.rawValue) after \(timeout)"
        if report.statuses.isEmpty { text += "\n  no process here knows \(name)" }
        for status in report.statuses {
            text += "\n  \(status.role.rawValue): \(status.state.rawValue)"
            for reason in status.reasons { text += "\n    \(reason)" }
        }
        for note in report.notes { text += "\n  \(note)" }
        return text
    }
}
