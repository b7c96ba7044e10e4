import ArgumentParser
import Daemon
import Glibc
import SystemSupport

/// `remusd xen-keeper`: started by `remusd protect`, never by hand.
struct XenKeeperCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "xen-keeper",
        abstract:
            "Carry out on_poweroff, on_reboot and on_crash of a guest of Xen's, once xl's own process for it has left.",
        shouldDisplay: false
    )

    @Option(help: "The guest: its UUID.")
    var guest: String

    func run() throws {
        Signals.ignore([SIGPIPE, SIGINT, SIGHUP])
        Log.bootstrap()
        do {
            try GuestKeeping.run(guest)
        } catch {
            throw Console.failure("\(error)", code: 1)
        }
    }
}
