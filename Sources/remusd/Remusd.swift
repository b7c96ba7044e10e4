import ArgumentParser

@main
struct Remusd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remusd",
        abstract: "Remus for Xen.",
        subcommands: [Inspect.self]
    )
}
