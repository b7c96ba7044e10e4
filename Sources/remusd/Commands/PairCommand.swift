import ArgumentParser
import Checkpoint
import Daemon
import Glibc
import Logging
import SystemSupport
import Transport

/// `remusd pair`
struct PairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pair",
        abstract: "Make two hosts known to each other, by their keys.",
        discussion: """
            Once for two hosts, one command on each; which of them listens does not matter:

              remusd pair --listen 10.0.0.2:7071        on one
              remusd pair --to 10.0.0.2:7071            on the other

            Both show a code of eight digits and ask whether it is the same; nothing is kept before both got a yes. Without a \
            terminal the answer is a line of standard input. A script that has another safe way between the two hosts needs \
            no code: 'remusd pair pin' shows a host's own key there, 'remusd pair pin HOST PIN' keeps it here.

            Pairing again changes nothing but what is given: a host that was installed anew gets its new key known, and \
            --guest or --until change the limits. What it changes counts from the next connection on.

            EXIT CODES
              0   paired
              1   the codes differ, somebody said no, or whoever answered is no 'remusd pair'
              64  the command line makes no sense
              69  nobody came, or answered, within --timeout
              73  the address cannot be listened on, or nobody be let in there
              78  REMUSD_STATE_DIR, or this host's key in it, cannot be used; or the record of the host that answered, which
                  then needs --guest or --all-guests
            """,
        subcommands: [PairListCommand.self, PairPinCommand.self, PairForgetCommand.self]
    )

    @Option(
        help: "Wait at this ADDRESS:PORT for the other host; any free port will do.",
        transform: SocketAddress.argument
    )
    var listen: SocketAddress?

    @Option(name: .customLong("to"), help: "Where the other host waits.", transform: SocketAddress.argument)
    var to: SocketAddress?

    @OptionGroup var limits: LimitOptions

    @Option(help: "How long to wait for the other host (default: 10m).", transform: TimeSpan.argument)
    var timeout: TimeSpan = .seconds(600)

    func run() throws {
        guard (listen == nil) != (to == nil) else {
            throw ValidationError("give --listen on one host and --to on the other.")
        }
        Signals.ignore([SIGPIPE])
        Log.bootstrap()
        let limits = try limits.limits
        let (paths, key) = try PairKey.load()
        let own: HostName
        do {
            own = try HostName(PrimaryIdentity.hostName)
        } catch {
            throw Console.failure("this host's name cannot be used: \(error)", code: Exit.configuration)
        }
        let deadline = Clock.monotonic + timeout.nanoseconds
        let pairing =
            try to.map { try connect(to: $0, key, own, deadline) }
            ?? listen.map {
                try waitForOther(at: $0, key, own, deadline)
            }
        guard let pairing else { return }
        Console.put("host  \(pairing.host)\nkey   \(pairing.pin)\ncode  \(pairing.code)\n")
        let known: PeerRecord?
        do {
            known = try PeerBook(paths).known(pairing.host, limits: limits)
        } catch {
            throw Console.failure("not paired: \(error)", code: Exit.configuration)
        }
        if let known, known.pin != pairing.pin.description {
            Console.put(
                "NOTE: \(pairing.host) was known by another key, which this one replaces: \(known.pin)\n"
            )
        }
        Console.put("Does \(pairing.host) show the same code? [y/N] ")
        let answer = readLine()?.lowercased() ?? ""
        let agreed: Bool
        do {
            agreed = try pairing.settle(accepted: answer == "y" || answer == "yes")
        } catch {
            throw Console.failure(
                "not paired: \(pairing.host) gave no answer (\(error))",
                code: Self.code(error)
            )
        }
        guard agreed else { throw Console.failure("not paired: somebody said no", code: 1) }
        try PairKey.keep(pairing.host, pairing.pin, limits, paths)
    }

    private func connect(
        to address: SocketAddress,
        _ key: HostKey,
        _ own: HostName,
        _ deadline: UInt64
    ) throws -> Pairing {
        Console.note("remusd: looking for the other host at \(address)")
        while true {
            let socket: Descriptor
            do {
                socket = try TCP.connect(to: address, milliseconds: 2000)
            } catch {
                guard Clock.monotonic < deadline else {
                    throw Console.failure("\(error)", code: Exit.unavailable)
                }
                usleep(300_000)
                continue
            }
            do {
                return try Pairing(over: socket, key: key, ownHost: own, connecting: true)
            } catch {
                throw Console.failure("not paired: \(error)", code: Self.code(error))
            }
        }
    }

    /// The exit code of a pairing that failed.
    private static func code(_ error: any Error) -> Int32 {
        (error as? PairingError)?.isTimeout == true ? Exit.unavailable : 1
    }

    /// Takes the first that speaks like a `remusd pair`; who that is, the code tells.
    private func waitForOther(
        at address: SocketAddress,
        _ key: HostKey,
        _ own: HostName,
        _ deadline: UInt64
    ) throws -> Pairing {
        let listener: Descriptor
        let bound: SocketAddress
        do {
            listener = try TCP.listen(on: address)
            try listener.setNonBlocking(true)
            bound = try TCP.localAddress(of: listener)
        } catch {
            throw Console.failure("\(error)", code: Exit.cannotCreate)
        }
        Console.put("waiting at \(bound): remusd pair --to \(bound) on the other host\n")
        let refusals = RefusalLog(Logger(label: "pair"))
        while Clock.monotonic < deadline {
            _ = Poll.wait(listener.raw, milliseconds: 500)
            let accepted: Descriptor?
            do {
                accepted = try TCP.accept(listener)
            } catch {
                throw Console.failure("\(error)", code: Exit.cannotCreate)
            }
            guard let socket = accepted else { continue }
            let peer = (try? TCP.remoteAddress(of: socket).description) ?? "unknown"
            do {
                return try Pairing(over: socket, key: key, ownHost: own, connecting: false)
            } catch {
                refusals.note("no pairing: \(error)", peer: peer)
            }
        }
        throw Console.failure("nobody came within \(timeout)", code: Exit.unavailable)
    }
}

/// What the pair commands share.
enum PairKey {
    static func load() throws -> (Paths, HostKey) {
        let paths = try Console.paths(creating: true)
        do {
            return (paths, try HostIdentity.load(paths))
        } catch {
            throw Console.failure("\(error)", code: Exit.configuration)
        }
    }

    static func keep(_ host: HostName, _ pin: KeyPin, _ limits: PairingLimits, _ paths: Paths) throws {
        do {
            let (old, new, forgotten) = try PeerBook(paths).remember(host, pin, limits: limits)
            let verb =
                old == nil ? "paired with" : old?.pin == new.pin ? "still paired with" : "paired anew with"
            Console.put("\(verb) \(host): \(PairText.limits(new))\n")
            for other in forgotten { Console.put("forgot \(other), which had this key too\n") }
        } catch {
            throw Console.failure("\(error)", code: Exit.configuration)
        }
    }
}

/// What a peer may do, as options.
struct LimitOptions: ParsableArguments {
    @Option(
        help:
            "A guest that may be replicated between the two hosts, either way; may be given several times (default: all).",
        transform: GuestName.argument
    )
    var guest: [GuestName] = []

    @Flag(help: "Lift the limit that --guest has set.")
    var allGuests = false

    @Option(help: "The last day of this pairing, YYYY-MM-DD in UTC, or 'never' (default: never).")
    var until: String?

    /// - Throws: `ValidationError` for a day that is none.
    var limits: PairingLimits {
        get throws {
            guard guest.isEmpty || !allGuests else {
                throw ValidationError("--guest and --all-guests: one of them.")
            }
            var limits = PairingLimits()
            limits.guests = guest.isEmpty ? nil : guest
            limits.allGuests = allGuests
            if until == "never" {
                limits.forever = true
            } else if let until {
                guard let day = Timestamp.endOfDay(until) else {
                    throw ValidationError("--until \(until): write a day like 2027-12-31, or never.")
                }
                limits.notAfter = day
            }
            return limits
        }
    }
}
