import ArgumentParser

@main
struct Remusd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remusd",
        abstract: "Remus for Xen.",
        subcommands: [Guest.self]
    )
}

/// `remusd guest`: embedded guests.
struct Guest: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Embedded guests.",
        subcommands: [GuestRun.self]
    )
}
