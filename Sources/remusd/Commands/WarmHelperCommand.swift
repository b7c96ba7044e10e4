import ArgumentParser
import Daemon
import Glibc
import SystemSupport
import XenHost

/// `remusd warm-helper`: started by `remusd standby`, never by hand.
struct WarmHelperCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "warm-helper",
        abstract: "Keep a Xen guest's domain up to date, paused, beyond the standby's death.",
        shouldDisplay: false
    )

    @Argument(help: "The guest.", transform: GuestName.argument)
    var name: GuestName

    @Option(help: "The unix socket to serve.")
    var socket: String

    @Option(help: "The effective configuration.")
    var configuration: String

    @Option(help: "The same as libxl reads it.")
    var json: String

    func run() throws {
        Signals.ignore([SIGPIPE, SIGINT, SIGHUP])
        guard let config = SmallFile.readBytes(json) else {
            throw Console.failure("\(json) cannot be read", code: Exit.configuration)
        }
        do {
            let builder = try LibxlBuilder(name: name.text, configuration: configuration, json: config)
            try WarmHelper(path: socket, builder: builder).run()
        } catch {
            throw Console.failure("\(error)", code: 1)
        }
    }
}
