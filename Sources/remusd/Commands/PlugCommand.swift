import ArgumentParser
import Daemon

/// `remusd plug`: what the kernel holds of Xen guests' output.
struct PlugCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plug",
        abstract: "Show what the kernel holds of Xen guests' output.",
        subcommands: [PlugList.self, PlugClean.self, PlugDrive.self],
        defaultSubcommand: PlugList.self
    )
}

/// `remusd plug list`
struct PlugList: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the devices that hold guests' output.",
        discussion: """
            A guest's interface is closed if one of its devices is, and open otherwise. --output json prints an array of \
            objects with the schema remusd.plug/1: schema, device, domain, interface, state (closed, older, empty, \
            orphan), held_bytes, held_packets, dropped.

            EXIT CODES
              0   listed (also when there is none)
              64  the command line makes no sense
              70  the kernel does not say
            """
    )

    @Option(help: "text or json.")
    var output: OutputFormat = .text

    func run() throws {
        let reports: [PlugReport]
        do {
            reports = try PlugReport.all()
        } catch {
            throw Console.failure("\(error)", code: 70)
        }
        if output == .json {
            try Console.put(json: reports)
        } else if reports.isEmpty {
            Console.put("No guest's output is held here.\n")
        } else {
            Console.put(PlugReport.table(reports))
        }
    }
}

/// `remusd plug clean`
struct PlugClean: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clean",
        abstract: "Remove the devices of interfaces that are gone.",
        discussion: """
            No guest that is there is touched. What the devices hold is lost, as it was when their guest went.

            EXIT CODES
              0   done (also when there was none)
              64  the command line makes no sense
              70  the kernel refuses; root may do it
            """
    )

    func run() throws {
        do {
            for name in try PlugReport.removeOrphans() { Console.put("removed \(name)\n") }
        } catch {
            throw Console.failure("\(error)", code: 70)
        }
    }
}

/// `remusd plug drive`: for tests of the kernel's side.
struct PlugDrive: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drive",
        abstract: "Work the plug of some interfaces by orders on standard input.",
        discussion: "cut N, release N, absorb, open, drop, held, close; never for a guest that is protected.",
        shouldDisplay: false
    )

    @Argument(help: "The domain number for the devices' names.")
    var domain: UInt32

    @Argument(help: "The interfaces.")
    var interfaces: [String]

    @Option(help: "Bytes that each interface may have held.")
    var limit: Int = 64 << 20

    func run() throws {
        do {
            try PlugConsole.run(domain: domain, interfaces: interfaces, limit: limit)
        } catch {
            throw Console.failure("\(error)", code: 70)
        }
    }
}
