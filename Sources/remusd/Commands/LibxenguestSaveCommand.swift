import ArgumentParser
import Glibc
import SystemSupport
import XenHost

/// `remusd libxenguest-save`: started by `remusd protect --engine libxenguest`, never by hand.
struct LibxenguestSaveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: SaveProcess.command,
        abstract: "Drive libxenguest's sender for one guest.",
        shouldDisplay: false
    )

    @Option(help: "The domain.")
    var domid: UInt32

    @Option(help: "The process that started this one.")
    var parent: Int32

    func run() throws {
        // A terminal's Ctrl-C, and a service manager's stop, go to the parent, which ends this process when it may end.
        Signals.ignore([SIGPIPE, SIGINT, SIGTERM, SIGHUP])
        throw ExitCode(SaveProgram.run(domid: domid, parent: parent))
    }
}
