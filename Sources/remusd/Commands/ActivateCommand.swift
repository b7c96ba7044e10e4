import ArgumentParser
import Checkpoint
import Daemon
import Glibc
import SystemSupport

/// `remusd activate`
struct ActivateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "activate",
        abstract: "Turn a standby's image into the running guest, on this host.",
        discussion: """
            For people and failover scripts. To be run on the standby's host. Refuses wherever two copies of the guest \
            could run, and says what is missing. Repeating it is harmless: once the guest is active here, it says so.

            Without an arbiter somebody must vouch that the primary is off or fenced: --confirm-fenced HOST, with the \
            host name that 'remusd status' shows as peer. No confirmation is needed where this host itself sees that the guest and its \
            'remusd protect' are gone.

            With an arbiter that decides, its grant is what counts, and nobody vouches for anything, unless the guest has a \
            writable disk that nobody replicates. Where it denies or does not answer, --force puts the caller's word in its \
            place: it needs --if-generation, --confirm-fenced and --accept-rollback, since the primary may have been granted \
            the guest. What the caller vouches for is written to the audit first (docs/operations.md, "Who said what").

            EXIT CODES
              0   the guest is active here (--dry-run: it could be)
              10  the primary is alive
              11  the arbiter granted the guest to somebody else
              12  there is no consistent image here
              13  nobody has confirmed that the primary is fenced
              14  the image has another generation, or was dropped at a planned end
              15  resources are missing (address, name, memory)
              16  the image may be older than what clients saw: see --accept-rollback
              17  a pre-activate hook of this host's said no (docs/hooks.md)
              64  the command line makes no sense
              75  try again (also when no standby answers here, or the arbiter does not)
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            """
    )

    @Argument(help: "The guest.", transform: GuestName.argument)
    var name: GuestName

    @Option(help: ArgumentHelp("Vouch that the primary on HOST is off or fenced.", valueName: "host"))
    var confirmFenced: String?

    @Option(help: ArgumentHelp("Activate only an image of exactly this generation.", valueName: "n"))
    var ifGeneration: UInt64?

    @Flag(help: "Go on with an image that may be older than what clients saw.")
    var acceptRollback = false

    @Flag(help: "Put the caller's word in the place of the arbiter's grant.")
    var force = false

    @Flag(help: "Say what would happen; change nothing.")
    var dryRun = false

    @Option(
        help: ArgumentHelp(
            "Where the guest shall be reached (default: where it was on the primary).",
            valueName: "addr:port"
        ),
        transform: SocketAddress.argument
    )
    var listen: SocketAddress?

    @Option(help: "How long to wait for the standby's answer (default: 2m).", transform: TimeSpan.argument)
    var timeout: TimeSpan = .seconds(120)

    @Option(help: "text or json (one object, schema remusd.activate/1).")
    var output: OutputFormat = .text

    func validate() throws {
        if force, ifGeneration == nil || confirmFenced == nil {
            throw ValidationError(
                "--force: say which image is meant and which host is off, with --if-generation N and --confirm-fenced HOST."
            )
        }
        if let confirmFenced, confirmFenced.isEmpty {
            throw ValidationError(
                "--confirm-fenced needs the name or address of the host that is off or fenced."
            )
        }
    }

    func run() throws {
        let paths = try Console.paths(for: name)
        let reply = ask(paths)
        if output == .json {
            try Console.put(json: reply)
        } else {
            show(reply)
        }
        if reply.exitCode != 0 { throw ExitCode(reply.exitCode) }
    }

    /// The standby's answer; one of our own where it gives none, so that a script reads the same JSON either way.
    private func ask(_ paths: Paths) -> ActivateReply {
        let request = ActivateRequest(
            confirmFenced: confirmFenced,
            ifGeneration: ifGeneration,
            acceptRollback: acceptRollback,
            dryRun: dryRun,
            listen: listen?.description,
            force: force
        )
        do {
            let client = ControlClient(path: try paths.standbySocket())
            return try client.post(
                "/v1/guests/\(name)/activate",
                request,
                as: ActivateReply.self,
                timeout: timeout
            )
        } catch let error as ControlFailure {
            let outcome: ActivateOutcome = error.status == 404 ? .noConsistentImage : .tryAgain
            return ActivateReply(
                guest: name.text,
                outcome: outcome,
                message: "\(error)",
                reasons: [error.message]
            )
        } catch {
            var message = "\(error)"
            switch error as? ControlClientError {
            case .notRunning: message += "; start 'remusd standby' on this host, then try again"
            case .timedOut, .brokeOff: message += "; the activation may still go on: repeat the same command"
            default: break
            }
            return ActivateReply(guest: name.text, outcome: .tryAgain, message: message, reasons: [message])
        }
    }

    private func show(_ reply: ActivateReply) {
        guard reply.exitCode == 0 else {
            Console.note("Error: \(reply.message)")
            for reason in reply.reasons where reason != reply.message { Console.note("  ! \(reason)") }
            return
        }
        var facts: [String] = []
        if let address = reply.address { facts.append("address \(address)") }
        if let generation = reply.generation { facts.append("generation \(generation)") }
        if let epoch = reply.epoch { facts.append("from epoch \(epoch)") }
        if let age = reply.imageAgeMs { facts.append("image \(TimeSpan.milliseconds(age).rounded) old") }
        Console.put("\(reply.message)\n" + (facts.isEmpty ? "" : "  \(facts.joined(separator: ", "))\n"))
        for reason in reply.reasons { Console.put("  ! \(reason)\n") }
    }
}
