import ArgumentParser

/// `remusd guest`: embedded guests, the stand-in for machines without Xen.
struct GuestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "guest",
        abstract: "Run, list and stop embedded guests (ordinary processes, for machines without Xen).",
        subcommands: [GuestRun.self, GuestListCommand.self, GuestStopCommand.self]
    )
}
