import ArgumentParser
import Checkpoint
import Daemon

/// `remusd continue`
struct ContinueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "continue",
        abstract: "Let a guest whose output is held go on without its standby.",
        discussion: """
            The primary's counterpart of 'remusd activate', to be run on the primary's host. For where nothing else gives the \
            guest its output back, or not soon: the arbiter is a person, or does not answer, or --alone-after is long. \
            Whoever calls it vouches that the standby is off, or cut off, and that nobody will activate its image: two copies \
            of the guest would run. An arbiter that decides is asked first: the word stands in for an answer that does not \
            come. The guest is then UNPROTECTED until a standby is back. Repeating it is harmless.

            EXIT CODES
              0   the guest goes on alone, or nothing was held
              10  the standby answers: output goes out as it acknowledges it
              13  output is held for another host than --confirm-fenced names
              14  this copy may not run any more: the guest is active, or granted, elsewhere
              64  the command line makes no sense
              69  nobody protects the guest here
              75  try again
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            """
    )

    @Argument(help: "The guest.", transform: GuestName.argument)
    var name: GuestName

    @Option(
        help: ArgumentHelp(
            "Vouch that this standby is off, or cut off; its host name, or the address of --to.",
            valueName: "standby"
        )
    )
    var confirmFenced: String

    @Option(help: "text or json.")
    var output: OutputFormat = .text

    func run() throws {
        let primary = try Console.paths(for: name).primarySocket(name)
        try WordCommands.say(
            ContinueRequest(confirmFenced: confirmFenced),
            to: [("/v1/continue", primary)],
            output
        )
    }
}

/// `remusd resolve`
struct ResolveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resolve",
        abstract: "After a split, say which copy of the guest is kept.",
        discussion: """
            To be run on both hosts, with the same --keep. The copy that is kept takes a higher generation and is protected \
            again once the other is stopped; the other is outdated, durably, and its output is dropped where it is held. A copy \
            that was activated and runs is not stopped by this: stop it, then repeat the command. Repeating it is harmless.

            EXIT CODES
              0   done, or there was no split
              10  the copy that is given up runs here: stop it first
              13  --keep names neither host
              14  this copy is outdated already, and cannot be kept
              64  the command line makes no sense
              69  nobody here knows the guest
              75  try again
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            """
    )

    @Argument(help: "The guest.", transform: GuestName.argument)
    var name: GuestName

    @Option(help: ArgumentHelp("The host whose copy is kept.", valueName: "host"))
    var keep: String

    @Option(help: "text or json.")
    var output: OutputFormat = .text

    func run() throws {
        let paths = try Console.paths(for: name)
        // A copy that is protected from here speaks for itself.
        let primary = ("/v1/resolve", try paths.primarySocket(name))
        let standby = ("/v1/guests/\(name)/resolve", try paths.standbySocket())
        try WordCommands.say(ResolveRequest(keep: keep), to: [primary, standby], output)
    }
}

/// What the commands have in common by which a person vouches for something.
enum WordCommands {
    /// Says it to the first that runs, shows the answer, and ends with its code.
    /// - Parameter listeners: each with its route and its socket.
    static func say(
        _ request: some Encodable & Sendable,
        to listeners: [(route: String, socket: String)],
        _ output: OutputFormat
    ) throws {
        let reply = try ask(request, listeners)
        if output == .json {
            try Console.put(json: reply)
        } else if reply.exitCode == 0 {
            Console.put("\(reply.guest): \(reply.message)\n")
        } else {
            Console.note("Error: \(reply.message)")
        }
        if reply.exitCode != 0 { throw ExitCode(reply.exitCode) }
    }

    private static func ask(
        _ request: some Encodable & Sendable,
        _ listeners: [(route: String, socket: String)]
    ) throws -> WordReply {
        var absence = ""
        for (route, socket) in listeners {
            let client = ControlClient(path: socket)
            do {
                return try client.post(route, request, as: WordReply.self, timeout: .seconds(30))
            } catch {
                guard case ControlClientError.notRunning = error else {
                    throw Console.failure("\(error)", code: Exit.tryAgain)
                }
                absence = "\(error)"
            }
        }
        throw Console.failure(absence, code: Exit.unavailable)
    }
}
