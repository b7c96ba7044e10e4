import ArgumentParser
import Daemon
import Glibc
import SystemSupport

/// The program. Every command runs, blocking, on the main thread: signal masks set there hold for all threads.
@main
struct Remusd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remusd",
        abstract: "Keeps a guest running through the loss of its host.",
        discussion: """
            A protected guest carries on at its standby with the memory it had, its connections open, and nothing lost \
            that anyone outside has seen.

            On the standby's host:
              remusd pair --listen 10.0.0.2:7071                     (once, with 'remusd pair --to' on the other)
              remusd standby --listen 10.0.0.2:7070

            On the primary's host:
              remusd pair --to 10.0.0.2:7071
              remusd guest run web1 --memory 256MiB --listen 0.0.0.0:6400
              remusd protect embedded:web1 --to 10.0.0.2:7070
              remusd status

            When the primary is gone, on the standby's host:
              remusd activate web1 --confirm-fenced primary.example

            Between hosts replication is under TLS 1.3, and each side knows the other by its key; on loopback it is \
            plaintext, unless --tls is given.

            Sockets lie in /run/remusd or REMUSD_RUNTIME_DIR, durable records in /var/lib/remusd or REMUSD_STATE_DIR. \
            REMUSD_LOG=debug says more. 'remusd demo' shows all of it on one machine.
            """,
        version: BuildVersion.text,
        subcommands: [
            GuardianCommand.self, PrimaryGuardianCommand.self, WarmHelperCommand.self,
            LibxenguestSaveCommand.self, XenKeeperCommand.self,
        ],
        groupedSubcommands: [
            CommandGroup(
                name: "Protect",
                subcommands: [
                    PairCommand.self, StandbyCommand.self, ProtectCommand.self, XlReceiveCommand.self,
                ]
            ),
            CommandGroup(
                name: "Watch",
                subcommands: [StatusCommand.self, WaitCommand.self, PlugCommand.self, DoctorCommand.self]
            ),
            CommandGroup(
                name: "Act",
                subcommands: [
                    ActivateCommand.self, ContinueCommand.self, UnprotectCommand.self, ResolveCommand.self,
                    StartCommand.self, BootGuardCommand.self, ArbiterCommand.self,
                ]
            ),
            CommandGroup(
                name: "Images",
                subcommands: [ExportCommand.self, Inspect.self]
            ),
            CommandGroup(
                name: "Without Xen",
                subcommands: [GuestCommand.self, DemoCommand.self]
            ),
        ]
    )

    static func main() {
        // libxl runs it as a script, which has no other command line.
        if VifScriptProgram.isMeant(by: CommandLine.arguments.first ?? "") {
            Glibc.exit(VifScriptProgram.run(Array(CommandLine.arguments.dropFirst())))
        }
        CoreDumps.forbid()
        main(nil)
    }
}
