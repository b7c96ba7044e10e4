import ArgumentParser
import Checkpoint
import Daemon
import Glibc
import SystemSupport
import XenHost

/// `remusd primary-guardian`: started by `remusd protect` of a Xen guest, never by hand.
struct PrimaryGuardianCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: GuardianTask.command,
        abstract: "Let a guest run again, and be protected again, when its protect has died.",
        shouldDisplay: false
    )

    @Option var guest: String

    @Option var domain: UInt32

    @Option(transform: { text in
        guard let uuid = GuestUUID(text) else { throw ValidationError("\(text) is no UUID") }
        return uuid
    })
    var uuid: GuestUUID

    @Option(help: "The process to watch.")
    var protect: Int32

    @Option(help: "When it started.")
    var started: UInt64

    @Option(help: "Restarts in a row before it.")
    var restarts: Int

    @Flag(help: "The guest is paused while nobody protects it and its output is held.")
    var standsStill = false

    @Argument(parsing: .postTerminator, help: "How to protect the guest again.")
    var arguments: [String]

    func run() throws {
        Signals.ignore([SIGPIPE, SIGINT, SIGHUP, SIGTERM])
        Log.bootstrap()
        let task = GuardianTask(
            guest: FoundGuest(domain: domain, uuid: uuid, name: guest),
            protect: protect,
            startTime: started,
            restarts: restarts,
            standsStill: standsStill,
            arguments: arguments
        )
        do {
            _ = try task.run(try Console.paths())
        } catch {
            throw Console.failure("\(error)", code: 1)
        }
    }
}
