import ArgumentParser
import Daemon
import Glibc
import SystemSupport

/// `remusd guardian`: started by `remusd standby`, never by hand.
struct GuardianCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "guardian",
        abstract: "Hold the standby's memory files beyond its death.",
        shouldDisplay: false
    )

    @Option(help: "The unix socket to serve.")
    var socket: String

    func run() throws {
        Signals.ignore([SIGPIPE, SIGINT, SIGHUP])
        Log.bootstrap()
        do {
            try Guardian(path: socket).run {}
        } catch {
            throw Console.failure("\(error)", code: 1)
        }
    }
}
